package main

import (
	"time"

	cmtmath "github.com/cometbft/cometbft/libs/math"
	"github.com/cometbft/cometbft/light"
	"github.com/cometbft/cometbft/types"
)

const (
	trustingPeriod = 24 * time.Hour
	clockDrift     = 10 * time.Second
)

// lightVectors asks CometBFT's verifier about good and bad successors of one trusted header. `stricter` marks cases that
// CometBFT accepts and Althing refuses: every carried signature must verify, and an adjacent header must name the trusted one as its predecessor.
func lightVectors() ([]object, error) {
	commit, no := types.BlockIDFlagCommit, types.BlockIDFlagNil
	set1 := set(map[string]int64{"a": 10, "b": 10, "c": 10, "d": 10})
	set2 := set(map[string]int64{"a": 10, "b": 10, "e": 10, "f": 10})
	set3 := set(map[string]int64{"e": 10, "f": 10, "g": 10, "h": 10})
	trusted := header(100, start, set1, set2, key("a"))
	signTrusted := sign(100, 0, types.BlockID{Hash: trusted.Hash(), PartSetHeader: blockID("t", 1).PartSetHeader}, set1,
		map[string]vote{"a": {commit, start}, "b": {commit, start}, "c": {commit, start}, "d": {commit, start}})
	trustedSigned := &types.SignedHeader{Header: &trusted, Commit: signTrusted}

	all := func(flag types.BlockIDFlag, names ...string) map[string]vote {
		out := map[string]vote{}
		for i, name := range names {
			out[name] = vote{flag, start.Add(time.Duration(i+1) * time.Second)}
		}
		return out
	}
	with := func(votes, more map[string]vote) map[string]vote {
		for name, v := range more {
			votes[name] = v
		}
		return votes
	}
	cases := []object{}
	predecessor := signTrusted.BlockID
	add := func(name string, height int64, t time.Time, vals, claimed *types.ValidatorSet, votes map[string]vote, now time.Time,
		trust cmtmath.Fraction, stricter bool, change func(*types.Header, *types.Commit)) {
		h := header(height, t, vals, vals, key("a"))
		if height == trusted.Height+1 {
			h.LastBlockID = predecessor
		}
		id := types.BlockID{Hash: h.Hash(), PartSetHeader: blockID("u", 2).PartSetHeader}
		c := sign(height, 0, id, vals, votes)
		if change != nil {
			change(&h, c)
		}
		untrusted := &types.SignedHeader{Header: &h, Commit: c}
		var err error
		if height == trusted.Height+1 {
			err = light.VerifyAdjacent(trustedSigned, untrusted, claimed, trustingPeriod, now, clockDrift)
		} else {
			err = light.VerifyNonAdjacent(trustedSigned, set1, untrusted, claimed, trustingPeriod, now, clockDrift, trust)
		}
		reason := ""
		if err != nil {
			reason = err.Error()
		}
		cases = append(cases, object{
			"name":               name,
			"trusted_header":     describeHeader(trusted),
			"trusted_validators": describeValidators(set1),
			"trusting_period_ns": trustingPeriod.Nanoseconds(),
			"clock_drift_ns":     clockDrift.Nanoseconds(),
			"header":             describeHeader(h), "commit": describeCommit(c), "validators": describeValidators(claimed),
			"now": describeTime(now), "trust": []uint64{trust.Numerator, trust.Denominator},
			"accepted": err == nil, "stricter": stricter, "cometbft_says": reason,
		})
	}
	third := light.DefaultTrustLevel
	soon, later := start.Add(time.Second), start.Add(time.Minute)
	full := func() map[string]vote { return all(commit, "a", "b", "e", "f") }

	add("adjacent, all sign", 101, soon, set2, set2, full(), later, third, false, nil)
	add("adjacent, three of four sign", 101, soon, set2, set2, all(commit, "a", "b", "e"), later, third, false, nil)
	add("adjacent, three sign and one nil", 101, soon, set2, set2, with(all(commit, "a", "b", "e"), all(no, "f")), later, third, false, nil)
	add("adjacent, exactly half signs", 101, soon, set2, set2, all(commit, "a", "b"), later, third, false, nil)
	add("adjacent, two sign and two nil", 101, soon, set2, set2, with(all(commit, "a", "b"), all(no, "e", "f")), later, third, false, nil)
	add("adjacent, wrong next validators", 101, soon, set3, set3, all(commit, "e", "f", "g", "h"), later, third, false, nil)
	add("adjacent, other set supplied", 101, soon, set2, set1, full(), later, third, false, nil)
	add("adjacent, same time", 101, start, set2, set2, full(), later, third, false, nil)
	add("adjacent, from the future", 101, later.Add(clockDrift), set2, set2, full(), later, third, false, nil)
	add("adjacent, just within clock drift", 101, later.Add(clockDrift-1), set2, set2, full(), later, third, false, nil)
	add("adjacent, trusted header expired", 101, soon, set2, set2, full(), start.Add(trustingPeriod), third, false, nil)
	add("adjacent, trusted header about to expire", 101, soon, set2, set2, full(), start.Add(trustingPeriod-1), third, false, nil)
	add("adjacent, header changed after signing", 101, soon, set2, set2, full(), later, third, false,
		func(h *types.Header, c *types.Commit) { h.AppHash = digest("forged") })
	add("adjacent, commit for another height", 101, soon, set2, set2, full(), later, third, false,
		func(h *types.Header, c *types.Commit) { c.Height = 102 })
	add("adjacent, commit of another round", 101, soon, set2, set2, full(), later, third, false,
		func(h *types.Header, c *types.Commit) { c.Round = 1 })
	add("adjacent, part set changed", 101, soon, set2, set2, full(), later, third, false,
		func(h *types.Header, c *types.Commit) { c.BlockID.PartSetHeader.Total++ })
	add("adjacent, one signature missing in the list", 101, soon, set2, set2, full(), later, third, false,
		func(h *types.Header, c *types.Commit) { c.Signatures = c.Signatures[:3] })
	add("adjacent, two entries exchanged", 101, soon, set2, set2, full(), later, third, false,
		func(h *types.Header, c *types.Commit) {
			c.Signatures[0], c.Signatures[1] = c.Signatures[1], c.Signatures[0]
		})
	add("adjacent, first signature broken", 101, soon, set2, set2, full(), later, third, false,
		func(h *types.Header, c *types.Commit) { c.Signatures[0].Signature[5] ^= 1 })
	add("adjacent, last signature broken", 101, soon, set2, set2, full(), later, third, true,
		func(h *types.Header, c *types.Commit) { c.Signatures[3].Signature[5] ^= 1 })
	add("adjacent, a vote for nil broken", 101, soon, set2, set2, with(all(commit, "a", "b", "e"), all(no, "f")), later, third, true,
		func(h *types.Header, c *types.Commit) {
			for i := range c.Signatures {
				if c.Signatures[i].BlockIDFlag == no {
					c.Signatures[i].Signature[5] ^= 1
				}
			}
		})
	add("adjacent, a timestamp changed", 101, soon, set2, set2, full(), later, third, false,
		func(h *types.Header, c *types.Commit) { c.Signatures[0].Timestamp = start })
	add("adjacent, another chain", 101, soon, set2, set2, full(), later, third, false,
		func(h *types.Header, c *types.Commit) { h.ChainID = "other" })
	predecessor = blockID("another block", 1)
	add("adjacent, names another predecessor", 101, soon, set2, set2, full(), later, third, true, nil)
	add("skipping, half of the trusted sign", 110, soon, set2, set2, full(), later, third, false, nil)
	add("skipping, trust of one half is not exceeded", 110, soon, set2, set2, full(), later, cmtmath.Fraction{Numerator: 1, Denominator: 2}, false, nil)
	add("skipping, a quarter of the trusted signs", 110, soon, set2, set2, all(commit, "a", "e", "f"), later, third, false, nil)
	add("skipping, none of the trusted signs", 110, soon, set3, set3, all(commit, "e", "f", "g", "h"), later, third, false, nil)
	add("skipping, trusted enough but no quorum", 110, soon, set2, set2, all(commit, "a", "b"), later, third, false, nil)
	add("skipping, trusted vote for nil", 110, soon, set2, set2, with(all(commit, "b", "e", "f"), all(no, "a")), later, third, false, nil)
	add("skipping, lower height", 99, soon, set2, set2, full(), later, third, false, nil)
	add("skipping, same height", 100, soon, set2, set2, full(), later, third, false, nil)
	add("skipping, expired", 110, soon, set2, set2, full(), start.Add(trustingPeriod), third, false, nil)
	return cases, nil
}
