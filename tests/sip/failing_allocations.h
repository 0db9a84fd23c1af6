// SPDX-License-Identifier: Apache-2.0
// Lets one allocation of this thread fail, in executables that have failing_allocations.cc.
#pragma once

namespace sipheal::testing {

// As many allocations succeed as this says, then one fails; below 0: none does.
extern thread_local int allocations_left;

}  // namespace sipheal::testing
