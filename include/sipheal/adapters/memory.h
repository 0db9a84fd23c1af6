// SPDX-License-Identifier: Apache-2.0
// The implementations that need nothing but memory: for tests, for trying sipheal out, and as the
// oracle that the conformance suites are checked against. Part of the core.
#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "sipheal/base/clock.h"
#include "sipheal/export.h"
#include "sipheal/session_store.h"
#include "sipheal/sip/captured_message.h"
#include "sipheal/sip/dialog_state.h"
#include "sipheal/sip_capture.h"

namespace sipheal::inline v0_1 {

// A SessionStore that forgets everything with the process: neither durable nor shared between
// processes. `clock` must outlive it; the system's when null. Leases end by clock->Now(), deadlines
// by clock->Monotonic().
SIPHEAL_EXPORT std::shared_ptr<SessionStore> MakeMemorySessionStore(const Clock* clock = nullptr);

// A SipCapture that returns what it was given. Thread-safe.
class SIPHEAL_EXPORT MemorySipCapture : public SipCapture {
 public:
  // Adds a message of the dialogs with this Call-ID. The caller says which Call-ID that is: nothing
  // is parsed here.
  virtual void AddMessage(const std::string& call_id, sip::CapturedMessage message) = 0;
  // Adds the state of one dialog, as a source that folds would have it.
  virtual void AddDialog(sip::DialogState dialog) = 0;
  // What Fetch says of Call-IDs that it knows; kBestEffort at first.
  virtual void SetCompleteness(Completeness completeness) = 0;
  // Fetch returns this until it is set to OK again.
  virtual void SetError(absl::Status error) = 0;
  virtual void Clear() = 0;
};
SIPHEAL_EXPORT std::shared_ptr<MemorySipCapture> MakeMemorySipCapture(const Clock* clock = nullptr);

}  // namespace sipheal::inline v0_1
