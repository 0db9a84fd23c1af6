// SPDX-License-Identifier: Apache-2.0
// The out-of-line destructors of the five interfaces and their listeners, so that each has one home
// for its vtable.
#include "sipheal/crash_detector.h"
#include "sipheal/flow_resumer.h"
#include "sipheal/media_server_driver.h"
#include "sipheal/session_store.h"
#include "sipheal/sip_capture.h"

namespace sipheal::inline v0_1 {

CrashListener::~CrashListener() = default;
CrashDetector::~CrashDetector() = default;
SessionStore::~SessionStore() = default;
SipCapture::~SipCapture() = default;
MediaServerListener::~MediaServerListener() = default;
MediaServerDriver::~MediaServerDriver() = default;
FlowResumer::~FlowResumer() = default;
FlowResumer::Variables FlowResumer::Prepare(const Session& /*session*/, WallTime /*died_at*/) {
  return {};
}

}  // namespace sipheal::inline v0_1
