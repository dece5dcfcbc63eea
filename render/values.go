package render

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"

	"slipway.dev/slipway/api"
	"slipway.dev/slipway/render/secrets"
	"slipway.dev/slipway/render/template"
)

// values hands out generated parameters during one render: what the ledger keeps, else
// new ones, which are kept only once the whole application is found to be good.
type values struct {
	ledger      Ledger
	application string
	persist     bool
	// keyring opens encrypted files; nil: their values are concealed.
	keyring Keyring
	// disguise makes the stand-ins of all values; nil: they are given out as they are.
	disguise disguise

	// kept is what the ledger holds, by instance, as far as it was asked.
	kept map[string]map[string]string
	// made is what is not kept yet.
	made map[string]map[string]string
	// asked names what this render used.
	asked map[string]map[string]bool
	// placeholders were given out.
	placeholders bool
	// broken is a failure of the ledger.
	broken error
	// keys are those of the keyring, once something encrypted was met.
	keys *secrets.Keys
	// opened are plain texts that were encrypted.
	opened []string
}

// keysOf names the keys among what a render used, so that another key makes another render.
const keysOf = "sops"

var errNoLedger = errors.New("there is no ledger to keep generated parameters in")

// get returns the value of an instance's parameter.
func (v *values) get(ctx context.Context, instance, name, expression string) (string, error) {
	if v.disguise != nil {
		return v.disguise.generated(expression, v.application, instance, name)
	}
	if err := v.load(ctx, instance); err != nil {
		v.broken = err
		return "", err
	}
	if v.asked[instance] == nil {
		v.asked[instance] = map[string]bool{}
	}
	v.asked[instance][name] = true
	for _, known := range []map[string]string{v.kept[instance], v.made[instance]} {
		if value, ok := known[name]; ok {
			return value, nil
		}
	}
	if !v.persist {
		v.placeholders = true
		return template.Placeholder(expression)
	}
	if v.ledger == nil {
		v.broken = errNoLedger
		return "", errNoLedger
	}
	value, err := template.Generate(expression, nil)
	if err != nil {
		return "", err
	}
	if v.made[instance] == nil {
		v.made[instance] = map[string]string{}
	}
	v.made[instance][name] = value
	return value, nil
}

func (v *values) load(ctx context.Context, instance string) error {
	if v.kept == nil {
		v.kept, v.made, v.asked = map[string]map[string]string{}, map[string]map[string]string{}, map[string]map[string]bool{}
	}
	if _, known := v.kept[instance]; known || v.ledger == nil {
		return nil
	}
	kept, err := v.ledger.Values(ctx, v.application, instance)
	if err != nil {
		return fmt.Errorf("generated parameters of %s, %s: %w", v.application, instance, err)
	}
	v.kept[instance] = kept
	return nil
}

// keep writes new values to the ledger and reads them back. It is not settled if another
// render was faster with one of them: then the objects must be made again.
func (v *values) keep(ctx context.Context) (settled bool, err error) {
	settled = true
	for instance, made := range v.made {
		if err := v.ledger.Keep(ctx, v.application, instance, made); err != nil {
			return false, fmt.Errorf("keep generated parameters of %s, %s: %w", v.application, instance, err)
		}
		delete(v.kept, instance)
		if err := v.load(ctx, instance); err != nil {
			return false, err
		}
		for name, value := range made {
			kept, ok := v.kept[instance][name]
			if !ok {
				return false, fmt.Errorf("the ledger does not hold parameter %s of %s, %s after it was written", name, v.application, instance)
			}
			settled = settled && kept == value
		}
		delete(v.made, instance)
	}
	return settled, nil
}

// reproducible tells whether another render would be given the same values.
func (v *values) reproducible(failed bool) bool {
	return !v.placeholders && (!failed || len(v.made) == 0)
}

// used is what this render took from the ledger.
func (v *values) used() map[string]map[string]string {
	out := map[string]map[string]string{}
	for instance, names := range v.asked {
		out[instance] = map[string]string{}
		for name := range names {
			out[instance][name] = v.kept[instance][name]
		}
	}
	if v.keys != nil {
		out[keysOf] = map[string]string{"digest": v.keys.Digest}
	}
	return out
}

// same tells whether the ledger still holds what a render took from it.
func (v *values) same(ctx context.Context, used map[string]map[string]string) (bool, error) {
	for instance, was := range used {
		if instance == keysOf {
			keys, err := v.identities(ctx)
			if err != nil || keys.Digest != was["digest"] {
				return false, err
			}
			continue
		}
		if err := v.load(ctx, instance); err != nil {
			return false, err
		}
		for name, value := range was {
			if now, ok := v.kept[instance][name]; !ok || now != value {
				return false, nil
			}
		}
	}
	return true, nil
}

// redact takes generated values, and what was encrypted, out of messages.
func (v *values) redact(problems api.Problems) api.Problems {
	var pairs []string
	for _, text := range v.opened {
		pairs = append(pairs, text, "[encrypted]")
	}
	for _, all := range []map[string]map[string]string{v.kept, v.made} {
		for instance := range maps.Keys(all) {
			for _, value := range all[instance] {
				if len(value) >= 4 {
					pairs = append(pairs, value, "[generated]")
				}
			}
		}
	}
	r := strings.NewReplacer(pairs...)
	for i := range problems {
		problems[i].Message, problems[i].Field = r.Replace(problems[i].Message), r.Replace(problems[i].Field)
	}
	return problems
}
