package bus_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/transport/memory"
)

// Probes of an orchestrator: while the broker is away the process gets no new work, and is not
// restarted for it.
func ExampleBus_Health() {
	tr := memory.NewBroker().Connect()
	b, err := bus.New(bus.Config{Transport: tr})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer b.Close()

	probe := func(ask func(bus.Health) error) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			if err := ask(b.Health()); err != nil {
				http.Error(w, err.Error(), http.StatusServiceUnavailable)
			}
		}
	}
	mux := http.NewServeMux()
	mux.Handle("GET /readyz", probe(bus.Health.Ready))
	mux.Handle("GET /livez", probe(bus.Health.Live))

	get := func(path string) {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequestWithContext(context.Background(), http.MethodGet, path, nil))
		fmt.Println(strings.TrimSpace(fmt.Sprintln(path, w.Code, w.Body)))
	}
	if err := b.Ready(context.Background()); err != nil { // at start
		fmt.Println(err)
	}
	get("/readyz")
	mend := tr.Sever()
	get("/readyz")
	get("/livez")
	mend()
	// Output:
	// /readyz 200
	// /readyz 503 not ready: memory: it is severed from its broker
	// /livez 200
}
