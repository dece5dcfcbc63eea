package dashboard

import (
	"net/http"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"slipway.dev/slipway/api"
)

func isAPI(path string) bool {
	for _, p := range []string{"/api", "/apis", "/oapi", "/openapi"} {
		if path == p || strings.HasPrefix(path, p+"/") {
			return true
		}
	}
	return false
}

// registerDiscovery tells clients which kinds there are.
func (d *Dashboard) registerDiscovery(r gin.IRouter) {
	var order []schema.GroupVersion
	byGroup := map[schema.GroupVersion]*metav1.APIResourceList{}
	for _, v := range d.views {
		gv := v.GroupVersion()
		list := byGroup[gv]
		if list == nil {
			list = &metav1.APIResourceList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "APIResourceList"}, GroupVersion: gv.String()}
			byGroup[gv] = list
			order = append(order, gv)
		}
		list.APIResources = append(list.APIResources, v.resource())
		if v.Resource == "pods" || v.Resource == "builds" {
			list.APIResources = append(list.APIResources, metav1.APIResource{
				Name: v.Resource + "/log", Namespaced: true, Kind: v.Kind.Kind, Verbs: metav1.Verbs{"get"},
			})
		}
	}
	byGroup[api.MetricsGroup] = metricsResources()
	order = append(order, api.MetricsGroup)
	groups := metav1.APIGroupList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "APIGroupList"}}
	slices.SortFunc(order, func(a, b schema.GroupVersion) int { return strings.Compare(a.String(), b.String()) })
	for _, gv := range order {
		if gv.Group == "" {
			serve(r, "/api/"+gv.Version, byGroup[gv])
			continue
		}
		version := metav1.GroupVersionForDiscovery{GroupVersion: gv.String(), Version: gv.Version}
		g := metav1.APIGroup{Name: gv.Group, Versions: []metav1.GroupVersionForDiscovery{version}, PreferredVersion: version}
		groups.Groups = append(groups.Groups, g)
		g.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "APIGroup"}
		serve(r, "/apis/"+gv.Group, g)
		serve(r, "/apis/"+gv.String(), byGroup[gv])
	}
	serve(r, "/apis", groups)
	serve(r, "/api", metav1.APIVersions{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "APIVersions"}, Versions: []string{"v1"}})
}

// serve mounts an answer that never changes.
func serve(r gin.IRouter, path string, answer any) {
	r.GET(path, func(c *gin.Context) { c.JSON(http.StatusOK, answer) })
}
