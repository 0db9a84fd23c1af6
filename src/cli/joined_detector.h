// SPDX-License-Identifier: Apache-2.0
// JoinedDetector: a detector that listens to the servers itself, and one that is told of them, as
// one.
#pragma once

#include <memory>

#include "sipheal/crash_detector.h"

namespace sipheal::inline v0_1::cli {

// What either says counts, once; with one exception. That an instance is silent, `reports` alone
// does not decide: `own` must not hear it either, or not know the instance. An incarnation is back
// when neither holds it dead any more. Both are kept alive.
std::shared_ptr<CrashDetector> JoinDetectors(std::shared_ptr<CrashDetector> own,
                                             std::shared_ptr<CrashDetector> reports);

}  // namespace sipheal::inline v0_1::cli
