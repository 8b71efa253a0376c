package main

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	cmtjson "github.com/cometbft/cometbft/libs/json"
	"github.com/cometbft/cometbft/light"
	"github.com/cometbft/cometbft/types"
)

// follow reads light blocks in the JSON of CometBFT's RPC, as Althing writes it, and verifies them with light.Verify:
// each from the one before, and each from the first.
func follow(in io.Reader, out io.Writer) error {
	raw, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	var chain struct {
		ChainID string             `json:"chain_id"`
		Blocks  []types.LightBlock `json:"blocks"`
	}
	if err := cmtjson.Unmarshal(raw, &chain); err != nil {
		return err
	}
	if len(chain.Blocks) < 3 {
		return fmt.Errorf("a chain of %d blocks proves nothing", len(chain.Blocks))
	}
	now := chain.Blocks[len(chain.Blocks)-1].Time.Add(time.Second)
	for i := range chain.Blocks {
		after := &chain.Blocks[i]
		if err := after.ValidateBasic(chain.ChainID); err != nil {
			return fmt.Errorf("height %d: %w", after.Height, err)
		}
		if i == 0 {
			continue
		}
		for _, before := range []*types.LightBlock{&chain.Blocks[i-1], &chain.Blocks[0]} {
			err := light.Verify(before.SignedHeader, before.ValidatorSet, after.SignedHeader, after.ValidatorSet,
				time.Hour, now, time.Second, light.DefaultTrustLevel)
			if err != nil {
				return fmt.Errorf("from height %d to %d: %w", before.Height, after.Height, err)
			}
		}
	}
	return json.NewEncoder(out).Encode(object{"blocks": len(chain.Blocks), "verdict": "accepted"})
}
