// SPDX-License-Identifier: Apache-2.0
// A SipCapture gives the SIP messages that were seen of given dialogs, or the dialog state folded
// from them. sipheal ships a HEP receiver (adapters/hep.h) and a HOMER client; the Healer asks at a
// crash, for many at once.
//
// An adapter delivers what was captured, with its provenance. Which copy to trust, the order and
// the duplicates are decided once, in L1 (sip/dialog_rebuilder.h).
//
// CONTRACT (each clause has the conformance case of the same id)
//  [Threading]   SC-1  All methods may be called from several threads at once.
//  [Deadlines]   SC-2  A call returns DeadlineExceeded within 100 ms of ctx.deadline, and
//                      Cancelled within 100 ms of ctx.stop being requested.
//  [Each]        SC-3  One result for each Call-ID asked, in order; a Call-ID never seen is
//                      kMissing, not an error.
//  [Errors]      SC-4  A source that cannot be reached or fails is Unavailable, never kMissing. One
//                      that knows some of the Call-IDs all the same may say so for the others alone
//                      (DialogCapture::status).
//  [Exact]       SC-5  Call-IDs are compared byte by byte; no message of another Call-ID is
//                      returned.
//  [Provenance]  SC-6  Messages carry source, destination, transport, time and agent as
//                      captured, and bytes unchanged.
//  [Exceptions]  SC-7  None may leave a method. sipheal turns one that does into Internal.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "sipheal/base/call_context.h"
#include "sipheal/export.h"
#include "sipheal/sip/captured_message.h"
#include "sipheal/sip/dialog_state.h"

namespace sipheal::inline v0_1 {

enum class Completeness {
  kOwnInterface,  // all that passed the server's own interface up to its death: nothing can be
                  // missing
  kBestEffort,    // messages may be missing, and nothing proves otherwise (HEP, HOMER)
  kMissing,       // nothing is known of this Call-ID
};

// What is known of one Call-ID. A source that folds fills `dialogs`, one that stores fills
// `messages`; where both are filled, they are two parts of what was seen (sip/combine_dialogs.h).
struct DialogCapture {
  std::string call_id;
  Completeness completeness = Completeness::kMissing;
  // Not OK: a source that may know more of this Call-ID did not answer. What is here is true as far
  // as it goes; what is not here may be there.
  absl::Status status;
  std::vector<sip::DialogState> dialogs;
  std::vector<sip::CapturedMessage> messages;
};

class SIPHEAL_EXPORT SipCapture {
 public:
  struct FetchParams {
    std::vector<std::string> call_ids;
    std::string instance;           // whose side of the dialogs is wanted
    std::optional<WallTime> since;  // the oldest message of interest; everything when empty
    std::optional<WallTime> until;  // when the instance died; what was seen later counts as well
  };

  SipCapture(const SipCapture&) = delete;
  SipCapture& operator=(const SipCapture&) = delete;
  virtual ~SipCapture();

  virtual absl::StatusOr<std::vector<DialogCapture>> Fetch(const CallContext& ctx,
                                                           const FetchParams& params) = 0;

 protected:
  SipCapture() = default;
};

}  // namespace sipheal::inline v0_1
