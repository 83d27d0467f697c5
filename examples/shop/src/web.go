package main

import (
	"context"
	"errors"
	"html/template"
	"net/http"
	"time"
)

var page = template.Must(template.New("shop").Parse(`<!doctype html>
<title>Shop</title>
<h1>{{.Title}}</h1>
{{range .Items}}<form method="post" action="/order"><button name="item" value="{{.ID}}">{{.Name}}</button> sold {{index $.Sold .ID}}</form>
{{end}}`))

func runWeb(ctx context.Context) error {
	catalog, err := dial(env("CATALOG_ADDR", "catalog:8081"))
	if err != nil {
		return err
	}
	orders, err := dial(env("ORDERS_ADDR", "orders:8082"))
	if err != nil {
		return err
	}

	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		items, err := call[listRequest, listReply](r.Context(), catalog, "/"+catalogService+"/List", &listRequest{})
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		sold, err := call[soldRequest, soldReply](r.Context(), orders, "/"+ordersService+"/Sold", &soldRequest{})
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		_ = page.Execute(w, map[string]any{"Title": env("TITLE", "Shop"), "Items": items.Items, "Sold": sold.ByItem})
	})
	mux.HandleFunc("POST /order", func(w http.ResponseWriter, r *http.Request) {
		request := &placeRequest{ItemID: r.FormValue("item")}
		if _, err := call[placeRequest, placeReply](r.Context(), orders, "/"+ordersService+"/Place", request); err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		http.Redirect(w, r, "/", http.StatusSeeOther)
	})

	server := &http.Server{Addr: env("LISTEN", ":8080"), Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() {
		<-ctx.Done()
		shutdown, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = server.Shutdown(shutdown)
	}()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
