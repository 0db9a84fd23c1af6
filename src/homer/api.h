// SPDX-License-Identifier: Apache-2.0
// HOMER over HTTP: what is sent, what the answers mean, and who is logged in.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "homer/options.h"
#include "homer/rounds.h"
#include "http/batch_client.h"
#include "model/turnstile.h"

namespace sipheal::inline v0_1::internal::homer {

// Thread-safe.
class HomerApi final : public Source {
 public:
  HomerApi(HomerOptions options, Secrets secrets);

  absl::StatusOr<std::unordered_set<std::string>> Ask(const CallContext& ctx,
                                                      const std::vector<std::string>& call_ids,
                                                      const Window& window,
                                                      Gatherer& gatherer) override;
  std::string WhyNotBelieved() const override;
  absl::Status Check(const CallContext& ctx);

 private:
  using Api = HomerOptions::Api;
  struct Question;
  struct Credentials {
    std::string header;
    std::uint64_t generation = 0;  // of the login; 0: a token that was made
  };

  // Sends them all, with one new login if the old one is refused. What a question has in `status`
  // afterwards is what its answer means.
  absl::Status Send(const CallContext& ctx, std::vector<std::unique_ptr<Question>>& questions);
  absl::StatusOr<Credentials> LogIn(const CallContext& ctx, std::uint64_t refused);
  absl::StatusOr<std::string> AskForToken(const CallContext& ctx);

  absl::StatusOr<std::unordered_set<std::string>> AskV3(const CallContext& ctx,
                                                        const std::vector<std::string>& call_ids,
                                                        const Window& window, Gatherer& gatherer);
  absl::StatusOr<std::unordered_set<std::string>> AskV4(const CallContext& ctx,
                                                        const std::vector<std::string>& call_ids,
                                                        const Window& window, Gatherer& gatherer);
  // A Call-ID that HOMER has rows of; empty when it shows none.
  absl::StatusOr<std::string> FindAny(const CallContext& ctx, const Window& window);

  std::unique_ptr<Question> MakeQuestion(Api api, const std::string& profile,
                                         std::vector<std::string> call_ids, const Window& window,
                                         Gatherer& gatherer) const;
  void Interpret(Question& question, absl::StatusOr<HttpResponse> response) const;
  absl::Status StatusOfRefusal(int status, const std::string& body, const std::string& what) const;
  std::string Url(const char* path) const { return url_ + path; }

  const HomerOptions options_;
  const Secrets secrets_;
  const std::string url_;  // without a slash at its end
  const Clock& clock_;
  std::atomic<Api> api_;
  BatchHttpClient client_;
  Turnstile login_;  // one at a time; the others take what it brought
  Mutex mutex_;
  std::string jwt_ ABSL_GUARDED_BY(mutex_);
  std::uint64_t generation_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace sipheal::inline v0_1::internal::homer
