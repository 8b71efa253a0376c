package main

import (
	"crypto/sha256"
	"time"

	"github.com/cometbft/cometbft/crypto/ed25519"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	cmtversion "github.com/cometbft/cometbft/proto/tendermint/version"
	"github.com/cometbft/cometbft/types"
)

const chainID = "althing-vectors"

func key(name string) ed25519.PrivKey { return ed25519.GenPrivKeyFromSecret([]byte(name)) }

func digest(name string) []byte { d := sha256.Sum256([]byte(name)); return d[:] }

func blockID(name string, total uint32) types.BlockID {
	return types.BlockID{
		Hash:          digest(name),
		PartSetHeader: types.PartSetHeader{Total: total, Hash: digest(name + " parts")},
	}
}

func describeTime(t time.Time) object {
	return object{"seconds": num(t.Unix()), "nanos": t.Nanosecond()}
}

func describeBlockID(id types.BlockID) object {
	return object{"hash": hx(id.Hash), "parts_total": id.PartSetHeader.Total, "parts_hash": hx(id.PartSetHeader.Hash)}
}

func describeHeader(h types.Header) object {
	return object{
		"block_version":        h.Version.Block,
		"app_version":          num(h.Version.App),
		"chain_id":             h.ChainID,
		"height":               num(h.Height),
		"time":                 describeTime(h.Time),
		"last_block_id":        describeBlockID(h.LastBlockID),
		"last_commit_hash":     hx(h.LastCommitHash),
		"data_hash":            hx(h.DataHash),
		"validators_hash":      hx(h.ValidatorsHash),
		"next_validators_hash": hx(h.NextValidatorsHash),
		"consensus_hash":       hx(h.ConsensusHash),
		"app_hash":             hx(h.AppHash),
		"last_results_hash":    hx(h.LastResultsHash),
		"evidence_hash":        hx(h.EvidenceHash),
		"proposer_address":     hx(h.ProposerAddress),
	}
}

func describeCommit(c *types.Commit) object {
	signatures := []object{}
	for _, s := range c.Signatures {
		signatures = append(signatures, object{
			"flag":      int(s.BlockIDFlag),
			"address":   hx(s.ValidatorAddress),
			"timestamp": describeTime(s.Timestamp),
			"signature": hx(s.Signature),
		})
	}
	return object{
		"height": num(c.Height), "round": c.Round,
		"block_id": describeBlockID(c.BlockID), "signatures": signatures,
	}
}

func describeValidators(set *types.ValidatorSet) []object {
	out := []object{}
	for _, v := range set.Validators {
		out = append(out, object{"public_key": hx(v.PubKey.Bytes()), "power": num(v.VotingPower)})
	}
	return out
}

func header(height int64, t time.Time, set, next *types.ValidatorSet, proposer ed25519.PrivKey) types.Header {
	return types.Header{
		Version:            cmtversion.Consensus{Block: 11, App: 1},
		ChainID:            chainID,
		Height:             height,
		Time:               t,
		LastBlockID:        blockID("last", 3),
		LastCommitHash:     digest("commit"),
		DataHash:           digest("data"),
		ValidatorsHash:     set.Hash(),
		NextValidatorsHash: next.Hash(),
		ConsensusHash:      types.DefaultConsensusParams().Hash(),
		AppHash:            digest("app"),
		LastResultsHash:    digest("results"),
		EvidenceHash:       digest("evidence"),
		ProposerAddress:    proposer.PubKey().Address(),
	}
}

func set(powers map[string]int64) *types.ValidatorSet {
	validators := []*types.Validator{}
	for name, power := range powers {
		validators = append(validators, types.NewValidator(key(name).PubKey(), power))
	}
	return types.NewValidatorSet(validators)
}

// vote says what a named validator does in a commit; absent validators are not listed.
type vote struct {
	flag types.BlockIDFlag
	time time.Time
}

func sign(height int64, round int32, id types.BlockID, set *types.ValidatorSet, votes map[string]vote) *types.Commit {
	byAddress := map[string]string{}
	for name := range votes {
		byAddress[key(name).PubKey().Address().String()] = name
	}
	commit := &types.Commit{Height: height, Round: round, BlockID: id}
	for i, v := range set.Validators {
		name, voted := byAddress[v.Address.String()]
		if !voted {
			commit.Signatures = append(commit.Signatures, types.NewCommitSigAbsent())
			continue
		}
		commit.Signatures = append(commit.Signatures, types.CommitSig{
			BlockIDFlag: votes[name].flag, ValidatorAddress: v.Address, Timestamp: votes[name].time,
		})
		signature := must(key(name).Sign(commit.VoteSignBytes(chainID, int32(i))))
		commit.Signatures[i].Signature = signature
	}
	return commit
}

func encode(message interface{ Marshal() ([]byte, error) }) string {
	return hx(must(message.Marshal()))
}

func protoSet(set *types.ValidatorSet) string {
	var out cmtproto.ValidatorSet
	for _, v := range set.Validators {
		plain := types.NewValidator(v.PubKey, v.VotingPower)
		out.Validators = append(out.Validators, must(plain.ToProto()))
	}
	return encode(&out)
}
