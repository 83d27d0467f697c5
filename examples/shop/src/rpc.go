package main

import (
	"context"
	"encoding/json"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
)

// jsonCodec lets gRPC carry plain Go structs, so that the example needs no generated code.
type jsonCodec struct{}

func (jsonCodec) Marshal(v any) ([]byte, error)      { return json.Marshal(v) }
func (jsonCodec) Unmarshal(data []byte, v any) error { return json.Unmarshal(data, v) }
func (jsonCodec) Name() string                       { return "json" }

func init() { encoding.RegisterCodec(jsonCodec{}) }

// unary describes one method of a service.
func unary[Req, Resp any](service, method string, handle func(context.Context, *Req) (*Resp, error)) grpc.MethodDesc {
	return grpc.MethodDesc{
		MethodName: method,
		Handler: func(_ any, ctx context.Context, decode func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) {
			request := new(Req)
			if err := decode(request); err != nil {
				return nil, err
			}
			if intercept == nil {
				return handle(ctx, request)
			}
			info := &grpc.UnaryServerInfo{FullMethod: "/" + service + "/" + method}
			return intercept(ctx, request, info, func(ctx context.Context, request any) (any, error) {
				return handle(ctx, request.(*Req))
			})
		},
	}
}

// serve answers one service on an address until the context ends.
func serve(ctx context.Context, address, service string, methods ...grpc.MethodDesc) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: service,
		HandlerType: (*any)(nil),
		Methods:     methods,
	}, struct{}{})
	go func() {
		<-ctx.Done()
		server.GracefulStop()
	}()
	return server.Serve(listener)
}

// dial opens a client connection. Transport security is the mesh's work.
func dial(address string) (*grpc.ClientConn, error) {
	return grpc.NewClient(address,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.CallContentSubtype("json")))
}

// call makes one request.
func call[Req, Resp any](ctx context.Context, conn *grpc.ClientConn, method string, request *Req) (*Resp, error) {
	reply := new(Resp)
	if err := conn.Invoke(ctx, method, request, reply); err != nil {
		return nil, err
	}
	return reply, nil
}
