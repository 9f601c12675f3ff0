package main

import "fmt"

// bar is what our bus is to reach in a workload.
type bar struct {
	metric  string
	against string  // whose figure it is compared with; "" for an absolute bound
	most    float64 // ratio, or the bound itself
	stretch float64 // 0: none
	unit    string  // of an absolute bound
}

// verdict is how a bar was met.
type verdict struct {
	text string
	met  bool
	// known is false when one of the two figures is missing.
	known bool
}

// judge holds the results of a workload against the bar.
func (b bar) judge(results map[string]*result) verdict {
	ours, ok := results[shardbus{}.name()].median(b.metric)
	if !ok {
		return verdict{text: "not measured: no figure of the bus"}
	}
	if b.against == "" {
		v := verdict{known: true, met: ours <= b.most}
		v.text = fmt.Sprintf("%s%s%s", b.word(ours), number(ours), b.unit)
		return v
	}
	theirs, ok := results[b.against].median(b.metric)
	if !ok || theirs == 0 {
		return verdict{text: "not measured: no figure of " + b.against}
	}
	ratio := ours / theirs
	v := verdict{known: true, met: ratio <= b.most, text: fmt.Sprintf("%s%.2f×", b.word(ratio), ratio)}
	low, high := b.spread(results)
	v.text += fmt.Sprintf(", in its rounds %.2f–%.2f", low, high)
	if low <= b.most && b.most < high {
		v.text += ": UNSETTLED"
	}
	return v
}

// spread is the quartiles of the ratios of the two figures of each round: what
// disturbs a whole round disturbs both.
func (b bar) spread(results map[string]*result) (low, high float64) {
	ours := results[shardbus{}.name()].samples[b.metric]
	theirs := results[b.against].samples[b.metric]
	ratios := make([]float64, 0, len(ours))
	for i := range min(len(ours), len(theirs)) {
		ratios = append(ratios, ours[i]/theirs[i])
	}
	return quantile(ratios, 0.25), quantile(ratios, 0.75)
}

func (b bar) word(v float64) string {
	switch {
	case v > b.most:
		return "MISSED: "
	case b.stretch > 0 && v <= b.stretch:
		return "met, stretch too: "
	}
	return "met: "
}

func (b bar) String() string {
	text := fmt.Sprintf("%s ≤ %s%s", b.metric, number(b.most), b.unit)
	if b.against != "" {
		text = fmt.Sprintf("%s ≤ %.2f× %s", b.metric, b.most, b.against)
	}
	switch {
	case b.stretch == 0:
		return text
	case b.against == "":
		return text + fmt.Sprintf(" (stretch %s%s)", number(b.stretch), b.unit)
	}
	return text + fmt.Sprintf(" (stretch %.2f×)", b.stretch)
}

// number prints v with as many digits as mean something.
func number(v float64) string {
	switch {
	case v == 0 || v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	case v >= 0.005:
		return fmt.Sprintf("%.2f", v)
	}
	return "0.00"
}
