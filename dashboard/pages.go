package dashboard

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"html/template"
	"io"
	"io/fs"
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

//go:embed assets
var assets embed.FS

//go:embed templates
var templateFiles embed.FS

var templates = template.Must(template.New("").Funcs(template.FuncMap{
	"short": func(s string) string { return s[:min(len(s), 7)] },
	"line":  func(s string) string { l, _, _ := strings.Cut(strings.TrimSpace(s), "\n"); return l },
	"who":   func(s string) string { name, _, _ := strings.Cut(s, " <"); return name },
	"image": shortImage,
	"iso":   func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
}).ParseFS(templateFiles, "templates/*.html"))

// page is what a page shows: sections that are fetched anew one by one, each when
// something of the kinds it names changes.
type page struct {
	Title string
	// Trail leads back: name and address of the pages above.
	Trail [][2]string
	// Project that changes must be in to matter; empty: any.
	Project  string
	Sections []section
	Version  string
	Rendered template.HTML
}

type section struct {
	ID string
	// Watch are resources, parted by spaces.
	Watch string
	// Template renders Data.
	Template string
	Data     any
}

// registerPages mounts the pages for people.
func (d *Dashboard) registerPages(r gin.IRouter) {
	static, err := fs.Sub(assets, "assets")
	if err != nil {
		panic(err) // embedded above
	}
	files := http.FileServerFS(static)
	for path, handler := range map[string]gin.HandlerFunc{
		"/":                            d.page(d.overview),
		"/projects/:project":           d.page(d.project),
		"/applications/:project/:name": d.page(d.application),
		"/builds/:project/:name":       d.page(d.build),
		"/pods/:project/:name":         d.page(d.pod),
		"/assets/*file":                gin.WrapH(http.StripPrefix("/assets", files)),
		"/events":                      d.stream,
	} {
		r.GET(path, handler)
		if path != "/events" {
			r.HEAD(path, handler)
		}
	}
}

// page answers with a whole page, or with the section that the query names.
func (d *Dashboard) page(make func(context.Context, *gin.Context) (*page, error)) gin.HandlerFunc {
	return func(c *gin.Context) {
		p, err := make(c.Request.Context(), c)
		if err != nil {
			d.failPage(c, err)
			return
		}
		id, partly := c.GetQuery("section")
		var out bytes.Buffer
		for _, s := range p.Sections {
			if partly && s.ID != id {
				continue
			}
			if err := p.render(&out, s, partly); err != nil {
				d.failPage(c, err)
				return
			}
		}
		if !partly {
			p.Version, p.Rendered = d.Version, template.HTML(out.String()) // made by html/template above
			out.Reset()
			if err := templates.ExecuteTemplate(&out, "layout", p); err != nil {
				d.failPage(c, err)
				return
			}
		}
		c.Data(http.StatusOK, "text/html; charset=utf-8", out.Bytes())
	}
}

func (p *page) render(w io.Writer, s section, inner bool) error {
	var body bytes.Buffer
	if err := templates.ExecuteTemplate(&body, s.Template, s.Data); err != nil {
		return err
	}
	if inner {
		_, err := body.WriteTo(w)
		return err
	}
	return templates.ExecuteTemplate(w, "section", struct {
		section
		Project string
		Body    template.HTML
	}{s, p.Project, template.HTML(body.String())})
}

func (d *Dashboard) failPage(c *gin.Context, err error) {
	var known apierrors.APIStatus
	switch {
	case c.Request.Context().Err() != nil:
		c.Abort()
	case errors.As(err, &known) && known.Status().Code < 500:
		d.pageError(c, int(known.Status().Code), known.Status().Message)
	default:
		d.Log.Error("page", "path", c.Request.URL.Path, "error", err)
		d.pageError(c, http.StatusInternalServerError, "Live state could not be read. What runs keeps running.")
	}
}

func (d *Dashboard) pageError(c *gin.Context, status int, text string) {
	var body, out bytes.Buffer
	err := templates.ExecuteTemplate(&body, "error", struct {
		Status int
		Text   string
	}{status, text})
	if err == nil {
		err = templates.ExecuteTemplate(&out, "layout", &page{
			Title: http.StatusText(status), Version: d.Version, Rendered: template.HTML(body.String()),
		})
	}
	if err != nil {
		d.Log.Error("page", "path", c.Request.URL.Path, "error", err)
	}
	c.Data(status, "text/html; charset=utf-8", out.Bytes())
	c.Abort()
}

// shortImage is an image without its registry, and with as much of its digest as tells
// it from others.
func shortImage(s string) string {
	if host, rest, found := strings.Cut(s, "/"); found && strings.ContainsAny(host, ".:") {
		s = rest
	}
	name, digest, found := strings.Cut(s, "@sha256:")
	if !found {
		return s
	}
	return name + "@sha256:" + digest[:min(12, len(digest))]
}
