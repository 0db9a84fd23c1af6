// SPDX-License-Identifier: Apache-2.0
// Registers the conformance cases as GoogleTest tests, one each. Call it before RUN_ALL_TESTS, for
// example from a global's initialiser:
//
//   const bool registered = (sipheal::conformance::RegisterSessionStoreConformance(
//       "MyStore", [] { return std::make_unique<MyHarness>(); }), true);
//
// gives MyStore/SessionStoreConformance.SS5_PutReplacesTheRecord and so on. Skipped cases say why.
// Component conformance_gtest.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "sipheal/conformance/crash_detector.h"
#include "sipheal/conformance/flow_resumer.h"
#include "sipheal/conformance/media_server_driver.h"
#include "sipheal/conformance/session_store.h"
#include "sipheal/conformance/sip_capture.h"
#include "sipheal/export.h"

namespace sipheal::inline v0_1::conformance {

template <typename Harness>
using HarnessFactory = std::function<std::unique_ptr<Harness>()>;

// `name`: the implementation under test, [A-Za-z0-9_]. `factory`: called once for each case.
SIPHEAL_EXPORT void RegisterSessionStoreConformance(const std::string& name,
                                                    HarnessFactory<SessionStoreHarness> factory);
SIPHEAL_EXPORT void RegisterSipCaptureConformance(const std::string& name,
                                                  HarnessFactory<SipCaptureHarness> factory);
SIPHEAL_EXPORT void RegisterCrashDetectorConformance(const std::string& name,
                                                     HarnessFactory<CrashDetectorHarness> factory);
SIPHEAL_EXPORT void RegisterMediaServerDriverConformance(
    const std::string& name, HarnessFactory<MediaServerDriverHarness> factory);
SIPHEAL_EXPORT void RegisterFlowResumerConformance(const std::string& name,
                                                   HarnessFactory<FlowResumerHarness> factory);

}  // namespace sipheal::inline v0_1::conformance
