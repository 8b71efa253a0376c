package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/cosmos/gogoproto/proto"

	"github.com/cometbft/cometbft/crypto/ed25519"
	"github.com/cometbft/cometbft/light"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	sm "github.com/cometbft/cometbft/state"
	"github.com/cometbft/cometbft/types"
)

// exported is one block of a chain as the interop test writes it: CometBFT's protobuf encodings, in hex.
type exported struct {
	Block      string `json:"block"`
	Commit     string `json:"commit"`
	Validators []struct {
		PublicKey string `json:"public_key"`
		Power     int64  `json:"power"`
	} `json:"validators"`
}

type judged struct {
	header     *types.SignedHeader
	block      *types.Block
	validators *types.ValidatorSet
}

// judge checks every block as a full node would (encoding, hashes, part set, full commit, block time) and every step
// between headers as a light client would: adjacent, and from the first block to each later one.
func judge(in io.Reader, out io.Writer) error {
	var chain struct {
		ChainID string     `json:"chain_id"`
		Blocks  []exported `json:"blocks"`
	}
	if err := json.NewDecoder(in).Decode(&chain); err != nil {
		return err
	}
	if len(chain.Blocks) < 3 {
		return fmt.Errorf("a chain of %d blocks proves nothing", len(chain.Blocks))
	}
	list := []judged{}
	for _, e := range chain.Blocks {
		j, err := read(e)
		if err != nil {
			return fmt.Errorf("block %d: %w", len(list)+1, err)
		}
		if err := full(chain.ChainID, list, j); err != nil {
			return fmt.Errorf("block %d: %w", len(list)+1, err)
		}
		list = append(list, j)
	}
	now := list[len(list)-1].header.Time.Add(time.Second)
	for i := 1; i < len(list); i++ {
		before, after := list[i-1], list[i]
		if err := light.VerifyAdjacent(before.header, after.header, after.validators, time.Hour, now, time.Second); err != nil {
			return fmt.Errorf("step to height %d: %w", after.header.Height, err)
		}
		if i > 1 {
			first := list[0]
			err := light.VerifyNonAdjacent(first.header, first.validators, after.header, after.validators, time.Hour, now, time.Second, light.DefaultTrustLevel)
			if err != nil {
				return fmt.Errorf("skip to height %d: %w", after.header.Height, err)
			}
		}
	}
	return json.NewEncoder(out).Encode(object{"blocks": len(list), "verdict": "accepted"})
}

func read(e exported) (judged, error) {
	rawBlock, err := hex.DecodeString(e.Block)
	if err != nil {
		return judged{}, err
	}
	var pbBlock cmtproto.Block
	if err := proto.Unmarshal(rawBlock, &pbBlock); err != nil {
		return judged{}, err
	}
	block, err := types.BlockFromProto(&pbBlock)
	if err != nil {
		return judged{}, err
	}
	again, err := pbBlock.Marshal()
	if err != nil || hx(again) != e.Block {
		return judged{}, fmt.Errorf("encoding differs from CometBFT's")
	}
	rawCommit, err := hex.DecodeString(e.Commit)
	if err != nil {
		return judged{}, err
	}
	var pbCommit cmtproto.Commit
	if err := proto.Unmarshal(rawCommit, &pbCommit); err != nil {
		return judged{}, err
	}
	commit, err := types.CommitFromProto(&pbCommit)
	if err != nil {
		return judged{}, err
	}
	validators := []*types.Validator{}
	for _, v := range e.Validators {
		public, err := hex.DecodeString(v.PublicKey)
		if err != nil {
			return judged{}, err
		}
		validators = append(validators, types.NewValidator(ed25519.PubKey(public), v.Power))
	}
	return judged{&types.SignedHeader{Header: &block.Header, Commit: commit}, block, types.NewValidatorSet(validators)}, nil
}

func full(chainID string, before []judged, j judged) error {
	parts, err := j.block.MakePartSet(types.BlockPartSizeBytes)
	if err != nil {
		return err
	}
	id := types.BlockID{Hash: j.block.Hash(), PartSetHeader: parts.Header()}
	if err := j.header.ValidateBasic(chainID); err != nil {
		return err
	}
	if err := j.validators.VerifyCommit(chainID, id, j.block.Height, j.header.Commit); err != nil {
		return err
	}
	if len(before) == 0 {
		return nil
	}
	last := before[len(before)-1]
	if !j.block.LastBlockID.Equals(last.header.Commit.BlockID) {
		return fmt.Errorf("last block id is wrong")
	}
	if err := last.validators.VerifyCommit(chainID, j.block.LastBlockID, last.block.Height, j.block.LastCommit); err != nil {
		return err
	}
	median, err := sm.MedianTime(j.block.LastCommit, last.validators)
	if err != nil {
		return err
	}
	if !j.block.Time.Equal(median) || !j.block.Time.After(last.block.Time) {
		return fmt.Errorf("block time %v is not the median %v, or not after %v", j.block.Time, median, last.block.Time)
	}
	return nil
}
