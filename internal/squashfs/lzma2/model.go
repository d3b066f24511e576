package lzma2

const (
	literalBits     = 3 // lc
	positionBits    = 2 // pb; lp is 0
	positions       = 1 << positionBits
	literalContexts = 1 << literalBits
)

// model is the probabilities that are learned.
type model struct {
	isMatch     [states][positions]prob
	isRepeat    [states]prob
	isNotFirst  [states]prob // a repeat is not at the last distance
	isNotSecond [states]prob
	isFourth    [states]prob
	isLong      [states][positions]prob // a repeat at the last distance is not short
	slot        [lengthKinds][slots]prob
	special     [nearest]prob // at the slot's start, a reversed tree
	align       [1 << alignBits]prob
	length      lengthModel // of matches at new distances
	repeat      lengthModel
	literal     [literalContexts]literalModel
}

// literalModel is a tree for literals that follow literals, and two more for as
// long as a literal agrees with the byte at the last distance, chosen by the bit
// there.
type literalModel [3 << 8]prob

// lengthModel is for lengths, less 2: 8 that depend on the position, then 8 more,
// then 256 that do not.
type lengthModel struct {
	notLow, high prob
	low, mid     [positions][lowLengths]prob
	rest         [256]prob
}

const lowLengths = 8

// reset makes everything as likely as not.
func (m *model) reset() {
	fill := func(probs []prob) {
		for i := range probs {
			probs[i] = evenProb
		}
	}
	for i := range states {
		fill(m.isMatch[i][:])
		fill(m.isLong[i][:])
	}
	for _, p := range []*[states]prob{&m.isRepeat, &m.isNotFirst, &m.isNotSecond, &m.isFourth} {
		fill(p[:])
	}
	for i := range m.slot {
		fill(m.slot[i][:])
	}
	fill(m.special[:])
	fill(m.align[:])
	for _, l := range []*lengthModel{&m.length, &m.repeat} {
		l.notLow, l.high = evenProb, evenProb
		fill(l.rest[:])
		for i := range positions {
			fill(l.low[i][:])
			fill(l.mid[i][:])
		}
	}
	for i := range m.literal {
		fill(m.literal[i][:])
	}
}
