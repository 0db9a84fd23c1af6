// SPDX-License-Identifier: Apache-2.0
// A KillSwitch is the one act that stops every controller that shares it from sending another
// re-INVITE or BYE, also in recoveries that are under way. sipheal ships one in a file (this
// header) and one in PostgreSQL (adapters/postgres.h); a host may bring its own. The Healer asks
// right before it hands a send to the driver; what the driver had by then may still leave, for up
// to HealerOptions::plugin_timeout (a media server that is slow to take the request). While it is
// thrown, crashes are still noted and sessions claimed and rebuilt; their deadlines go on.
#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "sipheal/base/call_context.h"
#include "sipheal/export.h"

namespace sipheal::inline v0_1 {

// All methods may be called from several threads at once, keep to the context's deadline and stop,
// and throw nothing.
class SIPHEAL_EXPORT KillSwitch {
 public:
  KillSwitch(const KillSwitch&) = delete;
  KillSwitch& operator=(const KillSwitch&) = delete;
  virtual ~KillSwitch();

  // OK: send. FailedPrecondition: it is thrown, with the reason. Anything else: it cannot be read,
  // and nothing is sent until it can.
  virtual absl::Status Check(const CallContext& ctx) = 0;
  // `reason`: for people; in the logs of all controllers. Idempotent.
  virtual absl::Status Throw(const CallContext& ctx, const std::string& reason) = 0;
  virtual absl::Status Clear(const CallContext& ctx) = 0;

 protected:
  KillSwitch() = default;
};

// Thrown while there is a file of this name; its first line is the reason. Whatever makes the file
// (touch, a monitoring agent) throws the switch; what is handed to the driver 1 ms later sees it.
SIPHEAL_EXPORT std::shared_ptr<KillSwitch> MakeFileKillSwitch(std::string path);

}  // namespace sipheal::inline v0_1
