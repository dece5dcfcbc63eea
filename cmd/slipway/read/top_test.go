package read

import (
	"strings"
	"testing"
)

func TestTop(t *testing.T) {
	t.Parallel()
	server, _ := shop(t)
	for args, want := range map[string]string{
		"top pods": "PROJECT    NAME               CPU    MEMORY\nshop-dev   backend-3-h7n4d    250m   96Mi\nshop-dev   frontend-7-4kx2p   250m   96Mi\nshop-dev   frontend-7-9tq7w   250m   96Mi\n",
		"top pod frontend-7-4kx2p -n shop-dev --containers": "PROJECT    NAME               CONTAINER   CPU    MEMORY\nshop-dev   frontend-7-4kx2p   web         250m   96Mi\n",
		"top pods -l app=backend --sort-by memory":          "PROJECT    NAME              CPU    MEMORY\nshop-dev   backend-3-h7n4d   250m   96Mi\n",
		"top nodes": "NAME     CPU     MEMORY\ndock-1   1500m   2048Mi\n",
	} {
		cmd, out, stderr := command(server, strings.Fields(args)...)
		if err := cmd.Execute(); err != nil || out.String() != want {
			t.Errorf("%s: %v\n%s%s, not\n%s", args, err, out, stderr, want)
		}
	}
	for args, want := range map[string]string{
		"top tea": "want pods or nodes", "top pods none": "none", "top pods --sort-by tea": "want cpu or memory", "top pods -l ((": "labelSelector",
	} {
		cmd, _, _ := command(server, strings.Fields(args)...)
		if err := cmd.Execute(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", args, err)
		}
	}
}
