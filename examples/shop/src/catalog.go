package main

import "context"

const catalogService = "shop.v1.Catalog"

// Item is something the shop sells. Prices are in cents.
type Item struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	Cents int64  `json:"cents"`
}

type listRequest struct{}

type listReply struct {
	Items []Item `json:"items"`
}

var shelf = []Item{
	{ID: "lamp", Name: "Desk lamp", Cents: 2490},
	{ID: "kettle", Name: "Kettle", Cents: 3290},
	{ID: "atlas", Name: "Atlas of shells", Cents: 4500},
}

func runCatalog(ctx context.Context) error {
	return serve(ctx, env("LISTEN", ":8081"), catalogService,
		unary(catalogService, "List", func(context.Context, *listRequest) (*listReply, error) {
			return &listReply{Items: shelf}, nil
		}))
}
