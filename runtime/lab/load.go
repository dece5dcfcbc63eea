package lab

import (
	"context"
	"encoding/json"
	"errors"
	"io"

	"slipway.dev/slipway/runtime/engine"
)

// loadTar loads an image and reads the engine's answer to its end: it may say there that it failed.
func loadTar(ctx context.Context, to engine.Docker, tar io.Reader) error {
	answer, err := to.ImageLoad(ctx, tar)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	for messages := json.NewDecoder(answer.Body); ; {
		var m struct {
			Error string `json:"error"`
		}
		switch err := messages.Decode(&m); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case m.Error != "":
			return errors.New(m.Error)
		}
	}
}
