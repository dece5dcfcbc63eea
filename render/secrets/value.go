package secrets

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

var sealedValue = regexp.MustCompile(`^ENC\[AES256_GCM,data:([^,]+),iv:([^,]+),tag:([^,]+),type:([a-z]+)\]$`)

// comment is a sealed comment that stands where a value would.
type comment struct{}

var (
	errNotSealed = errors.New("should be encrypted, and is plain: encrypt the file again with `sops`")
	errAltered   = errors.New("cannot be opened: the value was altered, or moved from another place")
)

// maxNonce bounds a nonce, in bytes; SOPS makes 32.
const maxNonce = 64

// open opens one sealed value that is bound to a text. What comes out of type is a string,
// int64, float64, bool, time.Time or comment.
func open(key []byte, sealed, bound string) (any, error) {
	if sealed == "" {
		return "", nil // SOPS leaves empty texts as they are.
	}
	m := sealedValue.FindStringSubmatch(sealed)
	if m == nil {
		return nil, errNotSealed
	}
	var parts [3][]byte
	for i := range parts {
		var err error
		if parts[i], err = base64.StdEncoding.DecodeString(m[i+1]); err != nil {
			return nil, errAltered
		}
	}
	data, nonce, tag := parts[0], parts[1], parts[2]
	if len(nonce) == 0 || len(nonce) > maxNonce || len(tag) != aes.BlockSize {
		return nil, errAltered
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	gcm, err := cipher.NewGCMWithNonceSize(block, len(nonce))
	if err != nil {
		return nil, err
	}
	plain, err := gcm.Open(nil, nonce, append(data, tag...), []byte(bound))
	if err != nil {
		return nil, errAltered
	}
	return typed(m[4], string(plain))
}

func typed(kind, text string) (any, error) {
	var value any = text
	var err error
	switch kind {
	case "str", "bytes":
	case "int":
		value, err = strconv.ParseInt(text, 10, 64)
	case "float":
		value, err = strconv.ParseFloat(text, 64)
	case "bool":
		value, err = strconv.ParseBool(text)
	case "time":
		value, err = time.Parse(time.RFC3339Nano, text)
	case "comment":
		value = comment{}
	default:
		return nil, fmt.Errorf("is of type %s, which SOPS does not have", kind)
	}
	if err != nil {
		return nil, fmt.Errorf("does not hold a value of its type, %s", kind)
	}
	return value, nil
}

// bytesOf is a value as the checksum takes it.
func bytesOf(value any) ([]byte, error) {
	switch v := value.(type) {
	case string:
		return []byte(v), nil
	case int64:
		return strconv.AppendInt(nil, v, 10), nil
	case float64:
		return strconv.AppendFloat(nil, v, 'f', -1, 64), nil
	case bool:
		return []byte(strings.ToUpper(strconv.FormatBool(v)[:1]) + strconv.FormatBool(v)[1:]), nil
	case time.Time:
		return v.MarshalText()
	}
	return nil, fmt.Errorf("is of a type that SOPS does not have")
}
