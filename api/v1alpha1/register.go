package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is the group and version of Slipway's own kinds.
var GroupVersion = schema.GroupVersion{Group: "slipway.dev", Version: "v1alpha1"}

// AddToScheme registers Slipway's own kinds.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion,
		&GitRepository{}, &GitRepositoryList{},
		&Application{}, &ApplicationList{},
		&Promotion{}, &PromotionList{},
		&Record{}, &RecordList{},
		&Override{}, &OverrideList{},
		&NodeConfig{}, &NodeConfigList{},
	)
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
}
