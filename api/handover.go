package api

// HandOver is the type of two conditions. That of a pod which is to go, False while other nodes
// are waited for, says in its message which Endpoints of its project no longer name the pod,
// and since which revision: `web@1201,admin@1187`. That of a Node says in its message the uids
// of such pods, separated by commas, to which nothing on that node leads any more.
const HandOver = "slipway.dev/HandOver"
