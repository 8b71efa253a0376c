package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"time"

	dbm "github.com/cometbft/cometbft-db"
	"github.com/cometbft/cometbft/light"
	"github.com/cometbft/cometbft/light/provider/http"
	lightrpc "github.com/cometbft/cometbft/light/rpc"
	dbs "github.com/cometbft/cometbft/light/store/db"
	rpchttp "github.com/cometbft/cometbft/rpc/client/http"
)

// remote follows a running node with CometBFT's light client, as its state sync does: a trusted header, skipping
// verification over JSON-RPC with witnesses, and the consensus parameters of the height that was verified.
func remote(in io.Reader, out io.Writer) error {
	var ask struct {
		ChainID string   `json:"chain_id"`
		Nodes   []string `json:"nodes"`
		Height  int64    `json:"height"`
		Hash    string   `json:"hash"`
		Target  int64    `json:"target"`
	}
	if err := json.NewDecoder(in).Decode(&ask); err != nil {
		return err
	}
	hash, err := hex.DecodeString(ask.Hash)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	trust := light.TrustOptions{Period: 24 * time.Hour, Height: ask.Height, Hash: hash}
	client, err := light.NewHTTPClient(ctx, ask.ChainID, trust, ask.Nodes[0], ask.Nodes[1:], dbs.New(dbm.NewMemDB(), ask.ChainID))
	if err != nil {
		return fmt.Errorf("trust: %w", err)
	}
	block, err := client.VerifyLightBlockAtHeight(ctx, ask.Target, time.Now())
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	next, err := rpchttp.New(ask.Nodes[0], "/websocket")
	if err != nil {
		return err
	}
	params, err := lightrpc.NewClient(next, client).ConsensusParams(ctx, &ask.Target)
	if err != nil {
		return fmt.Errorf("params: %w", err)
	}
	status, err := next.Status(ctx)
	if err != nil {
		return fmt.Errorf("status: %w", err)
	}
	provider, err := http.New(ask.ChainID, ask.Nodes[0])
	if err != nil {
		return err
	}
	_, later := provider.LightBlock(ctx, 1<<40)
	return json.NewEncoder(out).Encode(object{
		"hash":       hx(block.Hash()),
		"app_hash":   hx(block.AppHash),
		"validators": len(block.ValidatorSet.Validators),
		"proposer":   hx(block.ValidatorSet.GetProposer().Address),
		"max_bytes":  params.ConsensusParams.Block.MaxBytes,
		"network":    status.NodeInfo.Network,
		"latest":     status.SyncInfo.LatestBlockHeight,
		"later":      fmt.Sprint(later),
	})
}
