// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include "base/status_macros.h"
#include "homer/api.h"
#include "homer/options.h"
#include "homer/rounds.h"
#include "sipheal/adapters/homer.h"

namespace sipheal::inline v0_1 {
namespace {

class HomerCapture final : public SipCapture {
 public:
  HomerCapture(HomerOptions options, internal::homer::Secrets secrets)
      : read_(options.read),
        clock_(options.clock != nullptr ? *options.clock : SystemClock()),
        api_(std::move(options), std::move(secrets)) {}

  absl::StatusOr<std::vector<DialogCapture>> Fetch(const CallContext& ctx,
                                                   const FetchParams& params) override {
    return internal::homer::FetchInRounds(ctx, params, read_, clock_, api_);
  }

 private:
  const HomerReadOptions read_;
  const Clock& clock_;
  internal::homer::HomerApi api_;
};

}  // namespace

absl::StatusOr<std::shared_ptr<SipCapture>> MakeHomerCapture(HomerOptions options) {
  ABSL_RETURN_IF_ERROR(options.Validate());
  ABSL_ASSIGN_OR_RETURN(internal::homer::Secrets secrets, internal::homer::ReadSecrets(options));
  return std::make_shared<HomerCapture>(std::move(options), std::move(secrets));
}

absl::Status CheckHomer(const CallContext& ctx, HomerOptions options) {
  ABSL_RETURN_IF_ERROR(options.Validate());
  ABSL_ASSIGN_OR_RETURN(internal::homer::Secrets secrets, internal::homer::ReadSecrets(options));
  return internal::homer::HomerApi(std::move(options), std::move(secrets)).Check(ctx);
}

}  // namespace sipheal::inline v0_1
