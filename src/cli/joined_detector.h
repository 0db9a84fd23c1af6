// SPDX-License-Identifier: Apache-2.0
// JoinedDetector: two crash detectors as one. What either reports counts, once.
#pragma once

#include <memory>

#include "sipheal/crash_detector.h"

namespace sipheal::inline v0_1::cli {

// An instance that only one of them knows is known. Both are kept alive.
std::shared_ptr<CrashDetector> JoinDetectors(std::shared_ptr<CrashDetector> first,
                                             std::shared_ptr<CrashDetector> second);

}  // namespace sipheal::inline v0_1::cli
