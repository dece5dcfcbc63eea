package read

import "testing"

func TestTitle(t *testing.T) {
	t.Parallel()
	for field, want := range map[string]string{
		"name": "Name", "nodeName": "Node Name", "hostIP": "Host IP", "hostIPs": "Host IPs", "imageID": "Image ID", "podIPsSeen": "Pod IPs Seen",
		"HTTPHeaders": "HTTP Headers", "example.com/isSo": "example.com/isSo",
	} {
		if got := title(field); got != want {
			t.Errorf("%s: %q, want %q", field, got, want)
		}
	}
}
