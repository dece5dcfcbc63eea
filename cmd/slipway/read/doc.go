// Package read holds the commands that look at live state: get, describe, events, logs,
// status and history. They ask the server's API, as kubectl could, and follow kubectl's
// conventions for arguments, output and exit codes.
package read
