package ecstest

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

const (
	contentType  = "application/x-amz-json-1.1"
	targetPrefix = "AmazonEC2ContainerServiceV20141113."
	requestMax   = 1 << 20 // bytes
	askMax       = 100     // tasks or instances in one request
)

// awsError is an answer other than 200 in the form of AWS.
type awsError struct{ kind, message string }

func (e awsError) Error() string { return e.kind + ": " + e.message }

func writeError(w http.ResponseWriter, status int, kind, message string) {
	writeJSON(w, contentType, status, map[string]string{"__type": kind, "message": message})
}

// serveControl is the API: AWS JSON 1.1, where a header names the action.
func (f *Fake) serveControl(w http.ResponseWriter, r *http.Request) {
	action, ok := strings.CutPrefix(r.Header.Get("X-Amz-Target"), targetPrefix)
	if !ok {
		writeError(w, http.StatusBadRequest, "UnknownOperationException", "")
		return
	}
	if fault, ok := f.count(action); ok {
		fault.answer(w, r, f.closing)
		return
	}
	if !f.affords() {
		writeError(w, http.StatusBadRequest, "ThrottlingException", "Rate exceeded")
		return
	}
	answer, err := f.perform(action, r)
	var refused awsError
	switch {
	case errors.As(err, &refused):
		writeError(w, http.StatusBadRequest, refused.kind, refused.message)
	case err != nil:
		writeError(w, http.StatusBadRequest, "SerializationException", err.Error())
	default:
		writeJSON(w, contentType, http.StatusOK, answer)
	}
}

func (f *Fake) perform(action string, r *http.Request) (answer any, err error) {
	if err := f.checkSignature(r); err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, requestMax))
	if err != nil {
		return nil, err
	}
	switch action {
	case "ListTasks":
		return decodeThen(body, f.listTasks)
	case "DescribeTasks":
		return decodeThen(body, f.describeTasks)
	case "DescribeContainerInstances":
		return decodeThen(body, f.describeInstances)
	}
	return nil, awsError{"UnknownOperationException", "the fake has no " + action}
}

func decodeThen[In any](body []byte, do func(In) (any, error)) (any, error) {
	var in In
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, err
	}
	return do(in)
}

// checkSignature checks that the request is signed (AWS Signature Version 4) by
// the fake's own key for this region and service.
func (f *Fake) checkSignature(r *http.Request) error {
	auth, ok := strings.CutPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 Credential=")
	if !ok {
		return awsError{"MissingAuthenticationTokenException", "Missing Authentication Token"}
	}
	scope, _, _ := strings.Cut(auth, ",")
	part := strings.Split(scope, "/") // KEY/DATE/REGION/SERVICE/aws4_request
	switch {
	case len(part) != 5 || part[4] != "aws4_request":
		return awsError{"IncompleteSignatureException", "credential scope " + strconv.Quote(scope)}
	case part[0] != accessKeyID:
		return awsError{"UnrecognizedClientException", "The security token included in the request is invalid."}
	case part[2] != f.cfg.Region:
		return awsError{"InvalidSignatureException", "Credential should be scoped to a valid region, not " + strconv.Quote(part[2])}
	case part[3] != "ecs":
		return awsError{"InvalidSignatureException", "Credential should be scoped to correct service: 'ecs'"}
	}
	return nil
}

type listTasksInput struct {
	Cluster, ContainerInstance, DesiredStatus, Family string
	LaunchType, NextToken, ServiceName, StartedBy     string
	MaxResults                                        *int
}

func (f *Fake) listTasks(in listTasksInput) (any, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c, err := f.findCluster(in.Cluster)
	if err != nil {
		return nil, err
	}
	if err := f.findService(c, in.ServiceName); err != nil {
		return nil, err
	}
	if in.StartedBy != "" && (in.ServiceName != "" || in.Family != "") {
		return nil, awsError{"InvalidParameterException", "startedBy must be the only filter"}
	}
	from, size, err := f.page(in)
	if err != nil {
		return nil, err
	}
	arns := []string{}
	for _, t := range f.tasks {
		if t.cluster == c && f.lists(t, in) {
			arns = append(arns, t.ARN())
		}
	}
	from = min(from, len(arns))
	to := min(from+size, len(arns))
	answer := map[string]any{"taskArns": arns[from:to]}
	if to < len(arns) {
		answer["nextToken"] = base64.StdEncoding.EncodeToString([]byte(strconv.Itoa(to)))
	}
	return answer, nil
}

// page says where an answer starts and how many it has at most.
func (f *Fake) page(in listTasksInput) (from, size int, err error) {
	size = f.cfg.PageSize
	if in.MaxResults != nil {
		if *in.MaxResults < 1 || *in.MaxResults > askMax {
			return 0, 0, awsError{"InvalidParameterException", "maxResults must be between 1 and 100"}
		}
		size = min(size, *in.MaxResults)
	}
	if in.NextToken == "" {
		return 0, size, nil
	}
	text, err := base64.StdEncoding.DecodeString(in.NextToken)
	if err == nil {
		from, err = strconv.Atoi(string(text))
	}
	if err != nil || from < 0 {
		return 0, 0, awsError{"InvalidParameterException", "Invalid token"}
	}
	return from, size, nil
}

// lists says whether the task is in the list that in asks for, which is
// Config.Lag old. f.mu is held.
func (f *Fake) lists(t *Task, in listTasksInput) bool {
	then := f.cfg.Now().Add(-f.cfg.Lag)
	status := t.line.at(then)
	if status == "" || !t.removed.IsZero() && !t.removed.After(then) {
		return false
	}
	return cmp.Or(in.DesiredStatus, "RUNNING") == desired(status) && t.matches(in)
}

// matches says whether the task passes the filters of in.
func (t *Task) matches(in listTasksInput) bool {
	wants := func(want, have string) bool { return want == "" || want == have }
	instance := ""
	if t.instance != nil {
		instance = lastPart(t.instance.arn)
	}
	return wants(lastPart(in.ServiceName), t.cfg.Service) && wants(in.Family, t.cfg.Family) &&
		wants(in.StartedBy, t.cfg.StartedBy) && wants(in.LaunchType, t.cfg.LaunchType) && wants(lastPart(in.ContainerInstance), instance)
}

// finds says whether the task can be described. f.mu is held.
func (f *Fake) finds(t *Task) bool {
	return t.removed.IsZero() && t.line.at(f.cfg.Now().Add(-f.cfg.Lag)) != ""
}

// findCluster takes a name or an ARN; "" is "default". f.mu is held.
func (f *Fake) findCluster(nameOrARN string) (*cluster, error) {
	name := nameOrARN
	if name == "" {
		name = "default"
	}
	if strings.HasPrefix(name, "arn:") {
		name = strings.TrimPrefix(name, f.arn("cluster/"))
	}
	c, ok := f.clusters[name]
	if !ok {
		return nil, awsError{"ClusterNotFoundException", "Cluster not found."}
	}
	return c, nil
}

// findService takes a name or an ARN, with or without the cluster; "" is none.
func (f *Fake) findService(c *cluster, nameOrARN string) error {
	name := nameOrARN
	if path, ok := strings.CutPrefix(name, f.arn("service/")); ok {
		of, rest, long := strings.Cut(path, "/")
		switch {
		case !long:
			name = path
		case of == c.name:
			name = rest
		default:
			return awsError{"InvalidParameterException", "Identifier is for " + of + ". Your cluster is " + c.name}
		}
	}
	if name != "" && !c.services[name] {
		return awsError{"ServiceNotFoundException", "Service not found."}
	}
	return nil
}

type describeInput struct {
	Cluster            string
	Tasks              []string
	ContainerInstances []string
	Include            []string
}

func (f *Fake) describeTasks(in describeInput) (any, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c, err := f.findCluster(in.Cluster)
	if err != nil {
		return nil, err
	}
	if err := checkCount(in.Tasks, "Tasks"); err != nil {
		return nil, err
	}
	tasks, failures := []any{}, []any{}
	for _, want := range in.Tasks {
		i := slices.IndexFunc(f.tasks, func(t *Task) bool { return t.cluster == c && t.id == lastPart(want) && f.finds(t) })
		if i < 0 {
			failures = append(failures, missing(want))
		} else {
			tasks = append(tasks, f.tasks[i].describe(slices.Contains(in.Include, "TAGS")))
		}
	}
	slices.Reverse(tasks) // no order is promised
	return map[string]any{"tasks": tasks, "failures": failures}, nil
}

func (f *Fake) describeInstances(in describeInput) (any, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c, err := f.findCluster(in.Cluster)
	if err != nil {
		return nil, err
	}
	if err := checkCount(in.ContainerInstances, "Container instances"); err != nil {
		return nil, err
	}
	found, failures := []any{}, []any{}
	for _, want := range in.ContainerInstances {
		known := false
		for _, i := range c.instances {
			if lastPart(i.arn) == lastPart(want) {
				known = true
				found = append(found, i.describe(f.cfg.InstanceAttributes(i.address)))
			}
		}
		if !known {
			failures = append(failures, missing(want))
		}
	}
	return map[string]any{"containerInstances": found, "failures": failures}, nil
}

func checkCount(asked []string, what string) error {
	if len(asked) == 0 || len(asked) > askMax {
		return awsError{"InvalidParameterException", what + " must be between 1 and 100"}
	}
	return nil
}

func missing(arn string) map[string]any { return map[string]any{"arn": arn, "reason": "MISSING"} }

func lastPart(arn string) string { return arn[strings.LastIndexByte(arn, '/')+1:] }
