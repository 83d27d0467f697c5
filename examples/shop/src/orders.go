package main

import (
	"context"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const ordersService = "shop.v1.Orders"

type placeRequest struct {
	ItemID string `json:"itemId"`
}

type placeReply struct {
	Sold int `json:"sold"`
}

type soldRequest struct{}

type soldReply struct {
	ByItem map[string]int `json:"byItem"`
}

func runOrders(ctx context.Context) error {
	var mu sync.Mutex
	sold := map[string]int{}

	place := func(_ context.Context, request *placeRequest) (*placeReply, error) {
		for _, item := range shelf {
			if item.ID == request.ItemID {
				mu.Lock()
				defer mu.Unlock()
				sold[item.ID]++
				return &placeReply{Sold: sold[item.ID]}, nil
			}
		}
		return nil, status.Errorf(codes.NotFound, "no item %q", request.ItemID)
	}
	report := func(context.Context, *soldRequest) (*soldReply, error) {
		mu.Lock()
		defer mu.Unlock()
		copied := make(map[string]int, len(sold))
		for id, count := range sold {
			copied[id] = count
		}
		return &soldReply{ByItem: copied}, nil
	}
	return serve(ctx, env("LISTEN", ":8082"), ordersService,
		unary(ordersService, "Place", place), unary(ordersService, "Sold", report))
}
