package project

import (
	"testing"

	projectv1 "github.com/openshift/api/project/v1"

	"slipway.dev/slipway/api"
)

func TestFurnitureIsValid(t *testing.T) {
	t.Parallel()
	p := project("shop", 0, projectv1.ProjectRequesterAnnotation, "ann")
	for _, o := range Furnish(&p) {
		api.Default(o)
		if errs := api.Validate(o); len(errs) > 0 {
			t.Errorf("%s: %v", o.GetName(), errs.ToAggregate())
		}
	}
	want, err := Allocate(&p, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	given := p.DeepCopy()
	given.Annotations = want
	api.Default(given)
	if errs := append(api.Validate(given), api.ValidateUpdate(given, &p)...); len(errs) > 0 {
		t.Error(errs.ToAggregate())
	}
}
