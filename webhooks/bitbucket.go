package webhooks

import (
	"fmt"
	"net/http"
	"net/mail"
)

// parseBitbucket reads the push events of Bitbucket Cloud and of Bitbucket Server.
func parseBitbucket(header http.Header, body []byte) (event, error) {
	if err := isJSON(header); err != nil {
		return event{}, err
	}
	switch kind := header.Get("X-Event-Key"); kind {
	case "repo:push":
		return parseBitbucketCloud(body)
	case "repo:refs_changed":
		return parseBitbucketServer(body)
	case "diagnostics:ping":
		return event{other: "this is a ping"}, nil
	default:
		return event{}, fmt.Errorf("unknown X-Event-Key %.60q", kind)
	}
}

func parseBitbucketCloud(body []byte) (event, error) {
	var p struct {
		Push struct {
			Changes []struct {
				New *struct {
					Type   string `json:"type"`
					Name   string `json:"name"`
					Target struct {
						Hash    string `json:"hash"`
						Message string `json:"message"`
						Author  struct {
							Raw string `json:"raw"`
						} `json:"author"`
					} `json:"target"`
				} `json:"new"`
			} `json:"changes"`
		} `json:"push"`
		Repository struct {
			MainBranch struct {
				Name string `json:"name"`
			} `json:"mainbranch"`
		} `json:"repository"`
	}
	if err := unmarshal(body, &p); err != nil {
		return event{}, err
	}
	ev := event{defaultBranch: p.Repository.MainBranch.Name}
	for _, c := range p.Push.Changes {
		if c.New == nil || c.New.Type == "tag" {
			continue
		}
		who := user{Name: c.New.Target.Author.Raw}
		if a, err := mail.ParseAddress(who.Name); err == nil {
			who = user{a.Name, a.Address}
		}
		rev, err := revision(c.New.Target.Hash, c.New.Target.Message, who, who)
		if err != nil {
			return event{}, err
		}
		ev.pushes = append(ev.pushes, pushed{c.New.Name, rev})
	}
	return ev, nil
}

func parseBitbucketServer(body []byte) (event, error) {
	var p struct {
		Actor struct {
			DisplayName  string `json:"displayName"`
			EmailAddress string `json:"emailAddress"`
		} `json:"actor"`
		Changes []struct {
			RefID  string `json:"refId"`
			ToHash string `json:"toHash"`
			Type   string `json:"type"`
			Ref    struct {
				ID string `json:"id"`
			} `json:"ref"`
		} `json:"changes"`
	}
	if err := unmarshal(body, &p); err != nil {
		return event{}, err
	}
	ev := event{}
	who := user{p.Actor.DisplayName, p.Actor.EmailAddress}
	for _, c := range p.Changes {
		if c.Type == "DELETE" || deleted(c.ToHash) {
			continue
		}
		ref := c.Ref.ID
		if ref == "" {
			ref = c.RefID
		}
		rev, err := revision(c.ToHash, "", who, who)
		if err != nil {
			return event{}, err
		}
		ev.pushes = append(ev.pushes, pushed{ref, rev})
	}
	return ev, nil
}
