// Package storage binds claims to volumes and gives volumes back: PersistentVolumeClaim ↔
// PersistentVolume.
//
// A claim gets the smallest volume that fits it ([Match]). Both name each other: first the volume
// is given to the claim (spec.claimRef, with the claim's uid), in one write that only one can win,
// then the claim to the volume (spec.volumeName). Whoever dies in between leaves a volume that is
// spoken for, and the next look completes it.
//
// A claim that pods use, and a volume that a claim uses, are not deleted before those let them go:
// finalizers protect them. When a bound claim is gone its volume is Released, and its policy says
// what comes then: Retain leaves it for a person, Recycle empties it for the next claim, Delete
// removes its data and then itself. What has to be done at the data is done by the node that has
// it: it is asked to by [api.ReclaimAnnotation] and answers by [api.ReclaimedAnnotation].
package storage
