package transporttest_test

import "slices"

// mutants returns every fault.
func mutants() []mutant {
	return slices.Concat(envelopeMutants, publishMutants, deliveryMutants, subscribeMutants, serveMutants, lifeMutants, healthMutants, faultMutants, mismatchMutants, forgetMutants)
}
