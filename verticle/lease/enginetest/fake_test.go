package enginetest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// A fakeTable is a table of DynamoDB, as far as the store uses one: it is atomic,
// tells what is there when a condition fails, answers reads that are not consistent
// with what was there before, and refuses a request that is not well made.
type fakeTable struct {
	name string

	mu     sync.Mutex
	items  map[string]item
	before map[string]item // before the last write of each
	refuse *refusal        // of all requests
	lose   int             // replies of writes that are done
	asked  map[string]int  // by action
}

// An item is the attributes, each as the API writes it: {"S": "text"}.
type item map[string]map[string]any

type refusal struct {
	status     int
	kind, says string
	item       item
}

func (r *refusal) Error() string { return r.kind + ": " + r.says }

// startFake returns a table that ends with the test, and its endpoint.
func startFake(t testing.TB, name string) (*fakeTable, string) {
	f := &fakeTable{name: name, items: map[string]item{}, before: map[string]item{}, asked: map[string]int{}}
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	return f, server.URL
}

// request is that of all actions.
type request struct {
	TableName                           string
	Key                                 item
	ConsistentRead                      bool
	UpdateExpression                    string
	ConditionExpression                 string
	ExpressionAttributeNames            map[string]string
	ExpressionAttributeValues           map[string]map[string]any
	ReturnValues                        string
	ReturnValuesOnConditionCheckFailure string
}

func (f *fakeTable) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, action, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	var req request
	err := json.NewDecoder(r.Body).Decode(&req)
	f.mu.Lock()
	defer f.mu.Unlock()
	var answer any
	switch f.asked[action]++; {
	case err != nil:
	case f.refuse != nil:
		err = f.refuse
	case req.TableName != f.name:
		err = &refusal{http.StatusBadRequest, "ResourceNotFoundException", "Requested resource not found", nil}
	case action == "GetItem":
		answer = map[string]any{"Item": f.read(req)}
	case action == "UpdateItem":
		answer, err = f.update(req)
		if f.lose > 0 && err == nil {
			f.lose--
			panic(http.ErrAbortHandler)
		}
	default:
		err = &refusal{http.StatusBadRequest, "UnknownOperationException", action, nil}
	}
	write(w, answer, err)
}

func write(w http.ResponseWriter, answer any, err error) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	refused, _ := err.(*refusal)
	switch {
	case refused != nil:
		w.WriteHeader(refused.status)
		answer = map[string]any{"__type": "com.amazonaws.dynamodb.v20120810#" + refused.kind, "message": refused.says, "Item": refused.item}
	case err != nil:
		w.WriteHeader(http.StatusBadRequest)
		answer = map[string]any{"__type": "com.amazon.coral.validate#ValidationException", "message": err.Error()}
	}
	_ = json.NewEncoder(w).Encode(answer)
}

func (f *fakeTable) read(req request) item {
	key := fmt.Sprint(req.Key["key"]["S"])
	if !req.ConsistentRead {
		return f.before[key]
	}
	return f.items[key]
}

func (f *fakeTable) update(req request) (any, error) {
	if err := req.check(); err != nil {
		return nil, err
	}
	key := fmt.Sprint(req.Key["key"]["S"])
	is := f.items[key]
	if !req.holds(is) {
		failed := &refusal{http.StatusBadRequest, "ConditionalCheckFailedException", "The conditional request failed", nil}
		if req.ReturnValuesOnConditionCheckFailure == "ALL_OLD" {
			failed.item = is
		}
		return nil, failed
	}
	next := maps.Clone(is)
	if next == nil {
		next = maps.Clone(req.Key)
	}
	changed := item{}
	set, remove, _ := strings.Cut(strings.TrimPrefix(req.UpdateExpression, "SET "), " REMOVE ")
	for _, assignment := range assignments(set) {
		name, expression, _ := strings.Cut(assignment, " = ")
		changed[req.ExpressionAttributeNames[name]] = req.value(expression, is)
	}
	maps.Copy(next, changed)
	delete(next, req.ExpressionAttributeNames[remove])
	f.before[key], f.items[key] = is, next
	return map[string]any{"Attributes": changed}, nil
}

// used finds the placeholders of an expression.
var used = regexp.MustCompile(`[#:]\w+`)

// check refuses placeholders that are not used, or not defined, as DynamoDB does.
func (r *request) check() error {
	names := map[string]bool{}
	for _, name := range used.FindAllString(r.UpdateExpression+" "+r.ConditionExpression, -1) {
		names[name] = true
		_, isName := r.ExpressionAttributeNames[name]
		_, isValue := r.ExpressionAttributeValues[name]
		if !isName && !isValue {
			return fmt.Errorf("an expression attribute %s used in expression is not defined", name)
		}
	}
	if want := len(r.ExpressionAttributeNames) + len(r.ExpressionAttributeValues); len(names) != want {
		return fmt.Errorf("value provided in ExpressionAttributeNames or ExpressionAttributeValues unused in expressions: %d of %d", len(names), want)
	}
	return nil
}

// function is attribute_exists(#x) or attribute_not_exists(#x).
var function = regexp.MustCompile(`^attribute_(not_)?exists\((#\w+)\)$`)

// holds reports whether the condition does.
func (r *request) holds(is item) bool {
	for term := range strings.SplitSeq(r.ConditionExpression, " AND ") {
		if m := function.FindStringSubmatch(term); m != nil {
			if _, exists := is[r.ExpressionAttributeNames[m[2]]]; exists != (m[1] == "") {
				return false
			}
			continue
		}
		name, value, _ := strings.Cut(term, " = ")
		if fmt.Sprint(is[r.ExpressionAttributeNames[name]]) != fmt.Sprint(r.ExpressionAttributeValues[value]) {
			return false
		}
	}
	return true
}

// assignments splits at the commas that are not within brackets.
func assignments(set string) (all []string) {
	depth, from := 0, 0
	for i, r := range set {
		switch {
		case r == '(':
			depth++
		case r == ')':
			depth--
		case r == ',' && depth == 0:
			all = append(all, strings.TrimSpace(set[from:i]))
			from = i + 1
		}
	}
	return append(all, strings.TrimSpace(set[from:]))
}

// sum is if_not_exists(#x, :y) + :z.
var sum = regexp.MustCompile(`^if_not_exists\((#\w+), (:\w+)\) \+ (:\w+)$`)

// value is what the right side of an assignment comes to.
func (r *request) value(expression string, is item) map[string]any {
	m := sum.FindStringSubmatch(expression)
	if m == nil {
		return r.ExpressionAttributeValues[expression]
	}
	first := is[r.ExpressionAttributeNames[m[1]]]
	if first == nil {
		first = r.ExpressionAttributeValues[m[2]]
	}
	a, aerr := strconv.ParseUint(fmt.Sprint(first["N"]), 10, 64)
	b, berr := strconv.ParseUint(fmt.Sprint(r.ExpressionAttributeValues[m[3]]["N"]), 10, 64)
	if err := cmp.Or(aerr, berr); err != nil {
		panic(err) // a fault of the test
	}
	return map[string]any{"N": strconv.FormatUint(a+b, 10)}
}
