package dashboard

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// query is what a request asks for beside the kind.
type query struct {
	client.ListOptions
	watch   bool
	timeout time.Duration // of a watch; 0: none
	table   bool
	include metav1.IncludeObjectPolicy
}

func (v *view) query(c *gin.Context) (q query, err error) {
	bad := func(name string, err error) error {
		return apierrors.NewBadRequest(fmt.Sprintf("%s=%q: %v", name, c.Query(name), err))
	}
	q.Namespace = c.Param("namespace")
	if q.LabelSelector, err = labels.Parse(c.Query("labelSelector")); err != nil {
		return q, bad("labelSelector", err)
	}
	if q.FieldSelector, err = fields.ParseSelector(c.Query("fieldSelector")); err != nil {
		return q, bad("fieldSelector", err)
	}
	for _, r := range q.FieldSelector.Requirements() {
		if !selectable(v.stored, r.Field) {
			return q, bad("fieldSelector", fmt.Errorf("%s of %s cannot be selected by", r.Field, v.Resource))
		}
	}
	if q.Limit, err = number(c.Query("limit")); err != nil {
		return q, bad("limit", err)
	}
	seconds, err := number(c.Query("timeoutSeconds"))
	if err != nil {
		return q, bad("timeoutSeconds", err)
	}
	q.timeout = time.Duration(min(seconds, 1<<30)) * time.Second
	q.Continue = c.Query("continue")
	if err := q.raw(c); err != nil {
		return q, err
	}
	q.table, q.include = wantsTable(c.GetHeader("Accept")), metav1.IncludeObjectPolicy(c.Query("includeObject"))
	switch q.include {
	case "", metav1.IncludeNone, metav1.IncludeMetadata, metav1.IncludeObject:
		return q, nil
	}
	return q, bad("includeObject", fmt.Errorf("want None, Metadata or Object"))
}

// raw reads what only watches look at.
func (q *query) raw(c *gin.Context) error {
	o := &metav1.ListOptions{ResourceVersion: c.Query("resourceVersion")}
	if c.Query("resourceVersionMatch") == string(metav1.ResourceVersionMatchExact) {
		return apierrors.NewBadRequest("resourceVersionMatch=Exact: lists are always of the newest revision")
	}
	var send bool
	for name, into := range map[string]*bool{"watch": &q.watch, "allowWatchBookmarks": &o.AllowWatchBookmarks, "sendInitialEvents": &send} {
		text, given := c.GetQuery(name)
		if !given {
			continue
		}
		value, err := strconv.ParseBool(text)
		if err != nil && text != "" {
			return apierrors.NewBadRequest(fmt.Sprintf("%s=%q: want true or false", name, text))
		}
		*into = value || text == ""
	}
	if send {
		o.SendInitialEvents = &send
	}
	q.Raw = o
	return nil
}

func number(text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("want a whole number that is not negative")
	}
	return n, nil
}

// wantsTable looks for a Table among what a client accepts. Clients name the Table first
// where they want one.
func wantsTable(accept string) bool {
	for one := range strings.SplitSeq(accept, ",") {
		parameters := map[string]string{}
		for part := range strings.SplitSeq(one, ";") {
			name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
			parameters[name] = value
		}
		if parameters["as"] == "Table" && parameters["g"] == "meta.k8s.io" && parameters["v"] == "v1" {
			return true
		}
	}
	return false
}
