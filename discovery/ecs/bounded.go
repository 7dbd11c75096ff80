package ecs

import (
	"fmt"
	"io"
	"net/http"

	awsecs "github.com/aws/aws-sdk-go-v2/service/ecs"
)

// answerMax is how many bytes of an answer of the API are read. A hundred tasks
// take less than a tenth of it; the SDK itself would read for as long as
// something comes.
const answerMax = 32 << 20

// boundedClient gives up on an answer that is larger than answerMax.
type boundedClient struct{ awsecs.HTTPClient }

func (c boundedClient) Do(r *http.Request) (*http.Response, error) {
	resp, err := c.HTTPClient.Do(r)
	if err != nil {
		return resp, err
	}
	resp.Body = &boundedBody{ReadCloser: resp.Body, left: answerMax}
	return resp, nil
}

type boundedBody struct {
	io.ReadCloser
	left int
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, fmt.Errorf("the answer is larger than %d bytes", answerMax)
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}
