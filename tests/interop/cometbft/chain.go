package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	dbm "github.com/cometbft/cometbft-db"

	"github.com/cometbft/cometbft/crypto/ed25519"
	cmtjson "github.com/cometbft/cometbft/libs/json"
	cmtmath "github.com/cometbft/cometbft/libs/math"
	"github.com/cometbft/cometbft/light"
	"github.com/cometbft/cometbft/light/provider"
	"github.com/cometbft/cometbft/light/store/db"
	"github.com/cometbft/cometbft/types"
)

// history is a chain as a light client sees it, by height. Its validator sets have no priorities, so that their JSON
// and protobuf forms hold only what hashes cover; the proposer is the header's.
type history struct {
	blocks   map[int64]*types.LightBlock
	top      int64
	asked    []int64
	reported []types.Evidence
}

func (h *history) ChainID() string { return chainID }

func (h *history) LightBlock(_ context.Context, height int64) (*types.LightBlock, error) {
	h.asked = append(h.asked, height)
	if height == 0 {
		height = h.top
	}
	if height > h.top {
		return nil, provider.ErrHeightTooHigh
	}
	block, known := h.blocks[height]
	if !known {
		return nil, provider.ErrLightBlockNotFound
	}
	return block, nil
}

func (h *history) ReportEvidence(_ context.Context, ev types.Evidence) error {
	h.reported = append(h.reported, ev)
	return nil
}

// members names the validators of a height; whoever is named in nobody's commit is absent.
type members func(height int64) map[string]int64

// change alters the header of a height and the round of its commit before it is signed.
type change func(h *types.Header, round *int32)

func blockTime(height int64) time.Time { return start.Add(time.Duration(height) * time.Second) }

// grow adds the blocks of heights from..to behind what is there.
func (h *history) grow(from, to int64, who members, alter change) {
	for height := from; height <= to; height++ {
		vals, next := set(who(height)), set(who(height+1))
		hd := header(height, blockTime(height), vals, next, key(firstOf(who(height))))
		if before, known := h.blocks[height-1]; known {
			hd.LastBlockID = before.Commit.BlockID
		}
		hd.AppHash = digest(fmt.Sprintf("app %d", height))
		hd.DataHash = digest(fmt.Sprintf("data %d", height))
		round := int32(height % 2)
		if alter != nil {
			alter(&hd, &round)
		}
		id := types.BlockID{Hash: hd.Hash(), PartSetHeader: blockID(fmt.Sprintf("parts %d", height), 1).PartSetHeader}
		commit := sign(height, round, id, vals, votesOf(height, vals, who(height)))
		h.blocks[height] = &types.LightBlock{
			SignedHeader: &types.SignedHeader{Header: &hd, Commit: commit},
			ValidatorSet: bare(vals, hd.ProposerAddress),
		}
		h.top = height
	}
}

// votesOf: everybody votes for the block, but at every third height the least of five or more votes for nil, and at
// every fifth it is absent.
func votesOf(height int64, vals *types.ValidatorSet, who map[string]int64) map[string]vote {
	votes := map[string]vote{}
	last := vals.Validators[len(vals.Validators)-1].Address.String()
	for name := range who {
		flag := types.BlockIDFlagCommit
		if len(who) >= 5 && key(name).PubKey().Address().String() == last {
			if height%5 == 0 {
				continue
			}
			if height%3 == 0 {
				flag = types.BlockIDFlagNil
			}
		}
		votes[name] = vote{flag, blockTime(height).Add(time.Duration(name[0]) * time.Millisecond)}
	}
	return votes
}

func firstOf(who map[string]int64) string {
	first := ""
	for name := range who {
		if first == "" || name < first {
			first = name
		}
	}
	return first
}

func bare(vals *types.ValidatorSet, proposer types.Address) *types.ValidatorSet {
	out := &types.ValidatorSet{}
	for _, v := range vals.Validators {
		plain := types.NewValidator(ed25519.PubKey(v.PubKey.Bytes()), v.VotingPower)
		out.Validators = append(out.Validators, plain)
		if plain.Address.String() == proposer.String() {
			out.Proposer = plain
		}
	}
	return out
}

func rpcForm(value any) json.RawMessage { return must(cmtjson.Marshal(value)) }

func describeHistory(blocks map[int64]*types.LightBlock, from, to int64) []object {
	out := []object{}
	for height := from; height <= to; height++ {
		b := blocks[height]
		out = append(out, object{
			"signed_header": rpcForm(b.SignedHeader),
			"validator_set": rpcForm(b.ValidatorSet),
		})
	}
	return out
}

// window is a set that changes by one validator every `every` heights, with powers that differ.
func window(size, every int64) members {
	return func(height int64) map[string]int64 {
		out := map[string]int64{}
		for i := height / every; i < height/every+size; i++ {
			out[string(rune('A'+i))] = 10 + i%3
		}
		return out
	}
}

func client(trusted int64, primary, witness *history, options ...light.Option) (*light.Client, error) {
	trust := light.TrustOptions{
		Period: trustingPeriod, Height: trusted, Hash: primary.blocks[trusted].Hash(),
	}
	store := db.New(dbm.NewMemDB(), chainID)
	options = append(options, light.MaxClockDrift(clockDrift), light.MaxBlockLag(0))
	return light.NewClient(context.Background(), chainID, trust, primary, []provider.Provider{witness}, store, options...)
}

// chainVectors are chains in the JSON of CometBFT's RPC, and the heights that its light client asks for on its way.
func chainVectors() ([]object, error) {
	out := []object{}
	add := func(name string, top int64, who members, level cmtmath.Fraction) error {
		h := &history{blocks: map[int64]*types.LightBlock{}}
		h.grow(1, top, who, nil)
		witness := &history{blocks: h.blocks, top: top}
		c, err := client(1, h, witness, light.SkippingVerification(level))
		if err != nil {
			return err
		}
		h.asked = nil
		now := blockTime(top + 1)
		if _, err := c.VerifyLightBlockAtHeight(context.Background(), top, now); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		out = append(out, object{
			"name": name, "chain_id": chainID, "now": now.Format(time.RFC3339Nano),
			"trusting_period_ns": trustingPeriod.Nanoseconds(), "clock_drift_ns": clockDrift.Nanoseconds(),
			"trust":  []uint64{level.Numerator, level.Denominator},
			"blocks": describeHistory(h.blocks, 1, top), "asked": h.asked,
		})
		return nil
	}
	third := light.DefaultTrustLevel
	for _, c := range []struct {
		name  string
		top   int64
		who   members
		level cmtmath.Fraction
	}{
		{"one validator", 6, window(1, 100), third},
		{"five validators, one replaced at every second height", 24, window(5, 2), third},
		{"four validators, one replaced at every height", 16, window(4, 1), third},
		{"five validators, trust level of two thirds", 14, window(5, 2), cmtmath.Fraction{Numerator: 2, Denominator: 3}},
		{"all replaced at once at every height", 6, func(h int64) map[string]int64 {
			return map[string]int64{fmt.Sprintf("p%d", h): 5, fmt.Sprintf("q%d", h): 5, fmt.Sprintf("r%d", h): 5}
		}, third},
	} {
		if err := add(c.name, c.top, c.who, c.level); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// attackVectors are two histories of one chain, and the evidence that CometBFT's light client sends to both sides.
func attackVectors() ([]object, error) {
	out := []object{}
	add := func(name, attack string, fork, primaryTop, witnessTop, target int64, who members, alter change) error {
		witness := &history{blocks: map[int64]*types.LightBlock{}}
		witness.grow(1, witnessTop, who, nil)
		primary := &history{blocks: map[int64]*types.LightBlock{}}
		for height := int64(1); height < fork; height++ {
			primary.blocks[height] = witness.blocks[height]
		}
		primary.grow(fork, primaryTop, who, alter)
		c, err := client(1, primary, witness)
		if err != nil {
			return err
		}
		now := blockTime(40)
		_, err = c.VerifyLightBlockAtHeight(context.Background(), target, now)
		if err != light.ErrLightClientAttack {
			return fmt.Errorf("%s: not detected: %v", name, err)
		}
		case_ := object{
			"name": name, "attack": attack, "chain_id": chainID, "now": now.Format(time.RFC3339Nano),
			"trusting_period_ns": trustingPeriod.Nanoseconds(), "clock_drift_ns": clockDrift.Nanoseconds(),
			"target": target, "fork": fork,
			"witness": describeHistory(witness.blocks, 1, witnessTop),
			"primary": describeHistory(primary.blocks, fork, primaryTop),
		}
		for side, h := range map[string]*history{"against_primary": witness, "against_witness": primary} {
			evidence := []object{}
			for _, ev := range h.reported {
				pb := must(types.EvidenceToProto(ev))
				evidence = append(evidence, object{"json": rpcForm(&ev), "encoded": encode(pb), "hash": hx(ev.Hash())})
			}
			case_[side] = evidence
		}
		out = append(out, case_)
		return nil
	}
	steady, turning := window(4, 100), window(5, 2)
	appHash := func(h *types.Header, _ *int32) { h.AppHash = digest("forged") }
	data := func(h *types.Header, _ *int32) { h.DataHash = digest("other data") }
	for _, c := range []struct {
		name, attack                         string
		fork, primaryTop, witnessTop, target int64
		who                                  members
		alter                                change
	}{
		{"another state, same validators", "lunatic", 4, 6, 6, 6, steady, appHash},
		{"another state, while validators change", "lunatic", 6, 9, 9, 9, turning, appHash},
		{"two blocks in one round", "equivocation", 5, 6, 6, 6, steady, data},
		{"two blocks in one round, while validators change", "equivocation", 6, 8, 8, 8, turning, data},
		{"two blocks in different rounds", "amnesia", 5, 6, 6, 6, steady, func(h *types.Header, round *int32) {
			h.DataHash = digest("other data")
			*round += 3
		}},
		{"a header that the chain has not reached, with the time of an older one", "lunatic", 5, 8, 6, 8, steady,
			func(h *types.Header, _ *int32) {
				h.AppHash = digest("forged")
				h.Time = blockTime(5).Add(time.Duration(h.Height) * time.Millisecond)
			}},
	} {
		if err := add(c.name, c.attack, c.fork, c.primaryTop, c.witnessTop, c.target, c.who, c.alter); err != nil {
			return nil, err
		}
	}
	return out, nil
}
