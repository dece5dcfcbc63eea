// Package chains says with iptables what package rules says with nftables, for a node whose
// kernel has no nftables, or whose administrator wants all rules in one place.
//
// Compile makes of a frame and its elements, as a value, what iptables-restore reads. What
// nft looks up in a map is a rule here for each entry, so the work for a first packet grows
// with what there is; service addresses are divided by their first three bytes, pods by those
// that run here, and packets of open connections pass policies by one rule. What differs:
//
//   - A client's endpoint (session affinity) is remembered by the module recent, which
//     keeps the last 100 clients of an endpoint unless its option ip_list_tot says otherwise.
//   - Nothing tells of changes by others, so the rules are listed every look.
//
// All chains have names of ours, with a lower-case letter after the instance's name in upper
// case; the builtin chains hold one jump each, before whatever accepts. Filter writes what
// changed with one iptables-restore, which replaces the rules of a table at once.
package chains
