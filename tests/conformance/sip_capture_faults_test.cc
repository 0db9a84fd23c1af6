// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <atomic>
#include <cctype>
#include <stdexcept>
#include <thread>

#include "model/store_rules.h"
#include "sipheal/adapters/memory.h"
#include "sipheal/conformance/gtest.h"
#include "sipheal/conformance/sip_capture.h"
#include "tests/conformance/faults.h"

namespace sipheal {
namespace {

using std::chrono::milliseconds;

class FaultyCapture final : public SipCapture {
 public:
  FaultyCapture(std::shared_ptr<MemorySipCapture> good, std::string fault)
      : good_(std::move(good)), fault_(std::move(fault)) {}

  absl::StatusOr<std::vector<DialogCapture>> Fetch(const CallContext& given,
                                                   const FetchParams& given_params) override {
    const bool patient = Has("OverContextEndsAtOnce") || Has("BlockedSourceEndsInTime");
    const CallContext ctx = patient ? CallContext{} : given;
    const auto begin = std::chrono::steady_clock::now();
    while (blocked && std::chrono::steady_clock::now() - begin < std::chrono::seconds(1)) {
      absl::Status status = internal::CheckContext(ctx, SystemClock(), "faulty capture");
      if (!status.ok()) return status;
      std::this_thread::sleep_for(milliseconds(1));
    }
    FetchParams params = given_params;
    if (Has("OddArgumentsDoNotThrow") && !params.call_ids.empty() && params.call_ids[0].empty()) {
      throw std::runtime_error("empty Call-ID");
    }
    if (Has("OneResultForEachInOrder")) std::sort(params.call_ids.begin(), params.call_ids.end());
    if (Has("ManyThreadsAtOnce") && !only_.IsServed()) params.call_ids.pop_back();
    auto result = good_->Fetch(ctx, params);
    if (Has("LostSourceIsUnavailable") && absl::IsUnavailable(result.status())) {
      return std::vector<DialogCapture>(params.call_ids.size());
    }
    if (!result.ok()) return result;
    for (DialogCapture& capture : *result) {
      if (Has("CallIdsAreComparedByteByByte") && capture.messages.empty()) {
        std::string lower = capture.call_id;
        std::transform(lower.begin(), lower.end(), lower.begin(),
                       [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
        auto other = good_->Fetch(ctx, {.call_ids = {lower}});
        if (other.ok()) capture = (*other)[0];
      }
      if (Has("MessagesCarryTheirProvenance")) {
        for (auto& message : capture.messages) std::swap(message.source, message.destination);
      }
    }
    return result;
  }

  std::atomic<bool> blocked = false;

 private:
  bool Has(const char* fault) const { return fault_ == fault; }
  const std::shared_ptr<MemorySipCapture> good_;
  const std::string fault_;
  tests::OneThreadOnly only_;
};

class FaultyHarness final : public conformance::SipCaptureHarness {
 public:
  explicit FaultyHarness(const std::string& fault)
      : capture_(std::make_shared<FaultyCapture>(good_, fault)) {}
  absl::StatusOr<std::shared_ptr<SipCapture>> Make() override { return capture_; }
  absl::Status Feed(const std::string& call_id, const sip::CapturedMessage& message) override {
    good_->AddMessage(call_id, message);
    return absl::OkStatus();
  }
  absl::Status BreakConnection() override {
    good_->SetError(absl::UnavailableError("out of reach"));
    return absl::OkStatus();
  }
  absl::Status HealConnection() override {
    good_->SetError(absl::OkStatus());
    return absl::OkStatus();
  }
  absl::Status BlockSource() override {
    capture_->blocked = true;
    return absl::OkStatus();
  }
  absl::Status UnblockSource() override {
    capture_->blocked = false;
    return absl::OkStatus();
  }

 private:
  const std::shared_ptr<MemorySipCapture> good_ = MakeMemorySipCapture();
  const std::shared_ptr<FaultyCapture> capture_;
};

TEST(SipCaptureConformance, TellsGoodFromBroken) {
  tests::ExpectEveryCaseToTellGoodFromBroken(
      conformance::SipCaptureCases(),
      [](const std::string& fault) { return std::make_unique<FaultyHarness>(fault); });
}

// The capture in memory itself.
const bool registered =
    (conformance::RegisterSipCaptureConformance(
         "Memory", [] { return std::make_unique<FaultyHarness>(std::string()); }),
     true);

}  // namespace
}  // namespace sipheal
