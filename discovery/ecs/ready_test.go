package ecs

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/runrig-go/runrig/discovery"
)

// What an error of credentials says depends on whose they are.
func TestWhoseCredentialsFail(t *testing.T) {
	t.Parallel()
	const role, keys = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_WEB_IDENTITY_TOKEN_FILE"
	refused, slow := errors.New("sts says no"), context.DeadlineExceeded
	for name, tt := range map[string]struct {
		cfg  Config
		env  string
		had  bool
		err  error
		want error
		says string
	}{
		"given, slow":         {Config{AWS: &aws.Config{}}, "", false, slow, ErrTemporary, "the credentials of Config.AWS"},
		"given, refused":      {Config{AWS: &aws.Config{}}, "", false, refused, ErrNoCredentials, "the credentials of Config.AWS"},
		"given in a role":     {Config{AWS: &aws.Config{}}, role, false, refused, ErrNoCredentials, "the credentials of Config.AWS"},
		"role, slow":          {Config{}, role, false, slow, ErrTemporary, "the credentials of the task role"},
		"role, refused":       {Config{}, role, false, refused, ErrNoCredentials, "the credentials of the task role"},
		"chosen, slow":        {Config{}, keys, false, slow, ErrTemporary, keys},
		"chosen, refused":     {Config{}, keys, false, refused, ErrNoCredentials, keys},
		"nothing, slow":       {Config{}, "", false, slow, ErrNoCredentials, role + " is not set"},
		"nothing, refused":    {Config{}, "", false, refused, ErrNoCredentials, "set taskRoleArn"},
		"of the machine once": {Config{}, "", true, slow, ErrTemporary, "again"},
	} {
		fails := !tt.had
		provider := aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			if fails {
				return aws.Credentials{}, tt.err
			}
			return aws.Credentials{AccessKeyID: "x", SecretAccessKey: "y"}, nil
		})
		a := api{credentials: newCredentials(provider, tt.cfg, func(name string) string { return map[string]string{tt.env: "x"}[name] })}
		if tt.had {
			if err := a.ready(t.Context()); err != nil {
				t.Fatal(err)
			}
			fails = true
		}
		err := a.ready(t.Context())
		if !errors.Is(err, tt.want) || !errors.Is(err, tt.err) || discovery.IsMisconfigured(err) != (tt.want != ErrTemporary) || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: error is %v, want %v that says %q", name, err, tt.want, tt.says)
		}
		if tt.says != role+" is not set" && tt.env != "" && strings.Contains(err.Error(), "is not set") {
			t.Errorf("%s: the text tells of a role that is there: %v", name, err)
		}
	}
}
