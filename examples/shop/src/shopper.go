package main

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"time"
)

func runShopper(ctx context.Context) error {
	interval, err := time.ParseDuration(env("INTERVAL", "1s"))
	if err != nil {
		return err
	}
	target := env("WEB_URL", "http://web:8080") + "/order"
	client := &http.Client{Timeout: 5 * time.Second}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		item := shelf[rand.IntN(len(shelf))]
		reply, err := client.PostForm(target, url.Values{"item": {item.ID}})
		if err != nil {
			slog.Warn("order failed", "item", item.ID, "err", err)
			continue
		}
		_ = reply.Body.Close()
		slog.Info("ordered", "item", item.ID, "status", reply.StatusCode)
	}
}
