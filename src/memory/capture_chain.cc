// SPDX-License-Identifier: Apache-2.0
#include "sipheal/capture_chain.h"

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <optional>
#include <set>
#include <stop_token>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/absl_compat.h"
#include "base/status_macros.h"
#include "model/store_rules.h"
#include "sipheal/sip/combine_dialogs.h"
#include "sipheal/sip/message_view.h"
#include "sipheal/sip/verdict.h"

namespace sipheal::inline v0_1 {
namespace {

using std::chrono::milliseconds;
using Answer = absl::StatusOr<std::vector<DialogCapture>>;
using Member = CaptureChainOptions::Member;

constexpr std::size_t kMostMembers = 8;
// A context may end by a clock or a stop token that wakes nobody: it is looked at so often.
constexpr milliseconds kLook{5};
// Left of the caller's time for putting the answers together; a tenth of it when that is less.
constexpr milliseconds kOwnTime{50};
// What SC-2 allows a member beyond its deadline.
constexpr milliseconds kGrace{100};

absl::Status OutOfRange(std::string_view field, milliseconds value, int least) {
  return absl::InvalidArgumentError(
      absl::StrFormat("CaptureChainOptions::%s is %d ms: it may be %d to 60000 ms",
                      internal::AbslView(field), value.count(), least));
}

// A dialog of which more messages would change nothing that matters: it is over, or all that a
// request in it needs is proved.
bool IsOver(const sip::DialogState& dialog) {
  return dialog.phase == sip::DialogPhase::kTerminated || dialog.end != sip::DialogEnd::kNone;
}

bool IsProved(const sip::DialogState& dialog, WallTime now) {
  sip::VerdictOptions options;
  options.now = now;
  switch (sip::Judge(dialog, options).token) {
    case sip::VerdictToken::kRecoverable:
    case sip::VerdictToken::kNeedsNewFlow:
    case sip::VerdictToken::kRefused:
      return true;
    default:
      return false;
  }
}

bool IsUsable(const DialogCapture& capture, WallTime now) {
  if (capture.completeness == Completeness::kOwnInterface) return true;
  if (capture.dialogs.empty()) return false;
  return std::all_of(capture.dialogs.begin(), capture.dialogs.end(), IsOver) ||
         std::any_of(capture.dialogs.begin(), capture.dialogs.end(),
                     [now](const sip::DialogState& dialog) { return IsProved(dialog, now); });
}

bool IsOfCall(const sip::CapturedMessage& message, const std::string& call_id) {
  sip::MessageView view;
  // What cannot be read is no evidence of anything: L1 leaves it out.
  return !view.Parse(std::string_view(message.bytes)).ok() || view.call_id() == call_id;
}

bool IsSame(const sip::CapturedMessage& a, const sip::CapturedMessage& b) {
  return a.time == b.time && a.source == b.source && a.destination == b.destination &&
         a.transport == b.transport && a.agent == b.agent && a.bytes == b.bytes;
}

// The messages of one more member. Its order of arrival says nothing beside another's.
void AddMessages(std::vector<sip::CapturedMessage> more, DialogCapture& capture) {
  const std::size_t before = capture.messages.size();
  for (sip::CapturedMessage& message : more) {
    if (!IsOfCall(message, capture.call_id)) continue;
    const auto end = capture.messages.begin() + static_cast<std::ptrdiff_t>(before);
    if (std::any_of(capture.messages.begin(), end,
                    [&](const sip::CapturedMessage& known) { return IsSame(known, message); })) {
      continue;
    }
    if (before > 0) message.sequence = 0;
    capture.messages.push_back(std::move(message));
  }
}

void AddCapture(DialogCapture more, DialogCapture& capture) {
  std::erase_if(more.dialogs,
                [&](const sip::DialogState& dialog) { return dialog.call_id != capture.call_id; });
  const bool own_interface = more.completeness == Completeness::kOwnInterface;
  sip::CombineDialogs(std::move(more.dialogs), capture.dialogs);
  AddMessages(std::move(more.messages), capture);
  if (capture.dialogs.empty() && capture.messages.empty()) return;
  if (own_interface) {
    capture.completeness = Completeness::kOwnInterface;
  } else if (capture.completeness == Completeness::kMissing) {
    capture.completeness = Completeness::kBestEffort;
  }
}

Answer Ask(SipCapture& capture, const std::string& name, const CallContext& ctx,
           const SipCapture::FetchParams& params) {
  try {
    return capture.Fetch(ctx, params);
  } catch (const std::exception& error) {
    return absl::InternalError(
        absl::StrFormat("the capture '%s' threw: %s: it must return a Status", name, error.what()));
  } catch (...) {
    return absl::InternalError(
        absl::StrFormat("the capture '%s' threw: it must return a Status", name));
  }
}

// What the members' Fetch calls on the executor answer. Outlives the chain's own Fetch when one
// hangs.
struct Question {
  std::mutex mutex;
  std::condition_variable answered;
  std::vector<std::optional<Answer>> answers;  // by member
};

// One Fetch of the chain.
class Gathering {
 public:
  Gathering(const CaptureChainOptions& options, const Clock& clock, const CallContext& ctx,
            const SipCapture::FetchParams& params)
      : options_(options), clock_(clock), ctx_(ctx), params_(params) {
    for (const std::string& call_id : params.call_ids) {
      if (known_.try_emplace(call_id).second) {
        known_[call_id].call_id = call_id;
        call_ids_.push_back(call_id);
      }
    }
  }

  Answer Run() {
    const absl::Status status = options_.executor != nullptr ? AskSideBySide() : AskInTurn();
    // Whoever is still at work need not go on.
    stop_.request_stop();
    if (!status.ok()) return status;
    if (answers_ == 0) return NobodyAnswered();
    std::vector<DialogCapture> captures;
    captures.reserve(params_.call_ids.size());
    for (const std::string& call_id : params_.call_ids) captures.push_back(Result(call_id));
    return captures;
  }

 private:
  struct Asked {
    MonotonicTime deadline;
    bool by_caller = false;  // the deadline is the caller's, not the member's own
    bool done = false;
    std::vector<std::string> call_ids;
  };

  bool IsEnough(const std::string& call_id) const {
    return IsUsable(known_.at(call_id), clock_.Now());
  }

  std::vector<std::string> Wanting() const {
    std::vector<std::string> wanting;
    for (const std::string& call_id : call_ids_) {
      if (!IsEnough(call_id)) wanting.push_back(call_id);
    }
    return wanting;
  }

  // Until when the member may take, when `sharers` members have to live on what is left.
  Asked Begin(const Member& member, std::vector<std::string> call_ids, std::size_t sharers) const {
    Asked asked;
    asked.call_ids = std::move(call_ids);
    const MonotonicTime now = clock_.Monotonic();
    asked.deadline = now + member.timeout;
    if (ctx_.deadline != MonotonicTime::max()) {
      const auto left = ctx_.Remaining(now);
      const auto own = std::min<std::chrono::nanoseconds>(kOwnTime, left / 10);
      const MonotonicTime latest = now + std::chrono::duration_cast<MonotonicTime::duration>(
                                             (left - own) / static_cast<std::int64_t>(sharers));
      asked.by_caller = latest < asked.deadline;
      asked.deadline = std::min(asked.deadline, latest);
    }
    return asked;
  }

  CallContext ContextOf(const Asked& asked) const {
    CallContext ctx = ctx_;
    ctx.deadline = asked.deadline;
    return ctx;
  }

  SipCapture::FetchParams ParamsOf(const Asked& asked) const {
    SipCapture::FetchParams params = params_;
    params.call_ids = asked.call_ids;
    return params;
  }

  absl::Status AskInTurn() {
    for (std::size_t i = 0; i < options_.members.size(); ++i) {
      const Member& member = options_.members[i];
      ABSL_RETURN_IF_ERROR(internal::CheckContext(ctx_, clock_, "capture chain"));
      std::vector<std::string> call_ids =
          options_.enough == CaptureChainOptions::Enough::kEveryone ? call_ids_ : Wanting();
      if (call_ids.empty()) break;
      Asked asked = Begin(member, std::move(call_ids), options_.members.size() - i);
      Answer answer = Ask(*member.capture, member.name, ContextOf(asked), ParamsOf(asked));
      // The stop token is the caller's own here.
      if (absl::IsCancelled(answer.status())) {
        ABSL_RETURN_IF_ERROR(internal::CheckContext(ctx_, clock_, "capture chain"));
      }
      Take(i, std::move(asked), std::move(answer));
    }
    return absl::OkStatus();
  }

  absl::Status AskSideBySide() {
    const bool everyone = options_.enough == CaptureChainOptions::Enough::kEveryone;
    const auto question = std::make_shared<Question>();
    question->answers.resize(options_.members.size());
    const std::stop_callback pass_on(ctx_.stop, [this] { stop_.request_stop(); });
    std::vector<Asked> asked;
    MonotonicTime next_at = clock_.Monotonic();
    while (true) {
      ABSL_RETURN_IF_ERROR(TakeAnswers(*question, asked));
      const bool all_done =
          std::all_of(asked.begin(), asked.end(), [](const Asked& one) { return one.done; });
      std::vector<std::string> wanting = Wanting();
      if (wanting.empty() && !asked.empty() && !everyone) break;
      const MonotonicTime now = clock_.Monotonic();
      if (asked.size() < options_.members.size()) {
        if (all_done || everyone || now >= next_at) {
          const Member& member = options_.members[asked.size()];
          asked.push_back(Begin(member, everyone ? call_ids_ : std::move(wanting), 1));
          next_at = now + options_.hedge;
          Post(question, asked.size() - 1, member, asked.back());
          continue;
        }
      } else if (all_done) {
        break;
      }
      std::unique_lock lock(question->mutex);
      if (!HasNews(*question, asked)) question->answered.wait_for(lock, kLook);
    }
    return absl::OkStatus();
  }

  void Post(const std::shared_ptr<Question>& question, std::size_t index, const Member& member,
            const Asked& asked) const {
    CallContext ctx = ContextOf(asked);
    ctx.stop = stop_.get_token();
    options_.executor->Post(
        [question, index, member, ctx = std::move(ctx), params = ParamsOf(asked)] {
          Answer answer = Ask(*member.capture, member.name, ctx, params);
          const std::lock_guard lock(question->mutex);
          question->answers[index] = std::move(answer);
          question->answered.notify_all();
        });
  }

  static bool HasNews(const Question& question, const std::vector<Asked>& asked) {
    for (std::size_t i = 0; i < asked.size(); ++i) {
      if (!asked[i].done && question.answers[i].has_value()) return true;
    }
    return false;
  }

  // What has been answered since, and who is out of time. Cancelled when the caller gave up.
  absl::Status TakeAnswers(Question& question, std::vector<Asked>& asked) {
    if (ctx_.stop.stop_requested()) {
      return internal::CheckContext(ctx_, clock_, "capture chain");
    }
    const MonotonicTime now = clock_.Monotonic();
    for (std::size_t i = 0; i < asked.size(); ++i) {
      Asked& one = asked[i];
      if (one.done) continue;
      std::optional<Answer> answer;
      {
        const std::lock_guard lock(question.mutex);
        answer = std::exchange(question.answers[i], std::nullopt);
      }
      const MonotonicTime latest = std::min(one.deadline + kGrace, ctx_.deadline);
      if (!answer && now >= latest) {
        answer = absl::DeadlineExceededError("it did not answer in time");
      }
      if (!answer) continue;
      one.done = true;
      Take(i, one, *std::move(answer));
    }
    return absl::OkStatus();
  }

  void Take(std::size_t index, const Asked& asked, Answer answer) {
    if (!answer.ok()) {
      Fail(index, asked.call_ids, answer.status());
      out_of_callers_time_ =
          out_of_callers_time_ || (asked.by_caller && absl::IsDeadlineExceeded(answer.status()));
      return;
    }
    ++answers_;
    std::set<std::string> unanswered(asked.call_ids.begin(), asked.call_ids.end());
    for (DialogCapture& capture : *answer) {
      const auto known = known_.find(capture.call_id);
      if (known == known_.end()) continue;  // nobody asked for it
      unanswered.erase(capture.call_id);
      if (!capture.status.ok()) {
        Fail(index, {capture.call_id}, capture.status);
      }
      AddCapture(std::move(capture), known->second);
    }
    if (!unanswered.empty()) {
      Fail(index, {unanswered.begin(), unanswered.end()},
           absl::InternalError(absl::StrFormat("it gave no result for %d of %d Call-IDs",
                                               unanswered.size(), asked.call_ids.size())));
    }
  }

  void Fail(std::size_t index, const std::vector<std::string>& call_ids,
            const absl::Status& status) {
    const std::string& name = options_.members[index].name;
    const std::string text = absl::StrFormat("%s: %s", name, std::string(status.message()));
    for (const std::string& call_id : call_ids) {
      std::string& errors = errors_[call_id];
      if (!errors.empty()) errors += "; ";
      errors += text;
    }
    if (std::find(failures_.begin(), failures_.end(), text) != failures_.end()) return;
    failures_.push_back(text);
    if (options_.log == nullptr) return;
    options_.log->Write({LogLevel::kWarning,
                         "capture_member_failed",
                         "One of several captures gave no answer; the others go on",
                         {{"capture", name}, {"status", std::string(status.message())}}});
  }

  absl::Status NobodyAnswered() const {
    std::string text = "no capture answered";
    for (const std::string& failure : failures_) text += "; " + failure;
    if (out_of_callers_time_) return absl::DeadlineExceededError(text);
    return absl::UnavailableError(text);
  }

  DialogCapture Result(const std::string& call_id) const {
    DialogCapture capture = known_.at(call_id);
    const auto errors = errors_.find(call_id);
    if (errors != errors_.end() && !IsUsable(capture, clock_.Now())) {
      capture.status = absl::UnavailableError(
          absl::StrFormat("not all captures answered for this Call-ID: %s", errors->second));
    }
    return capture;
  }

  const CaptureChainOptions& options_;
  const Clock& clock_;
  const CallContext& ctx_;
  const SipCapture::FetchParams& params_;
  std::stop_source stop_;
  std::vector<std::string> call_ids_;  // each once
  std::unordered_map<std::string, DialogCapture> known_;
  std::unordered_map<std::string, std::string> errors_;  // by Call-ID
  std::vector<std::string> failures_;
  int answers_ = 0;
  bool out_of_callers_time_ = false;
};

class CaptureChain final : public SipCapture {
 public:
  explicit CaptureChain(CaptureChainOptions options)
      : options_(std::move(options)),
        clock_(options_.clock != nullptr ? *options_.clock : SystemClock()) {}

  Answer Fetch(const CallContext& ctx, const FetchParams& params) override {
    ABSL_RETURN_IF_ERROR(internal::CheckContext(ctx, clock_, "capture chain"));
    if (params.call_ids.empty()) return std::vector<DialogCapture>();
    return Gathering(options_, clock_, ctx, params).Run();
  }

 private:
  const CaptureChainOptions options_;
  const Clock& clock_;
};

}  // namespace

absl::Status CaptureChainOptions::Validate() const {
  if (members.empty() || members.size() > kMostMembers) {
    return absl::InvalidArgumentError(
        absl::StrFormat("CaptureChainOptions::members has %d entries: give 1 to %d captures",
                        members.size(), kMostMembers));
  }
  std::set<std::string_view> names;
  for (const Member& member : members) {
    if (member.capture == nullptr) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "CaptureChainOptions::members['%s'].capture is null: give a SipCapture", member.name));
    }
    if (member.name.empty() || !names.insert(member.name).second) {
      return absl::InvalidArgumentError(
          absl::StrFormat("CaptureChainOptions::members has the name '%s' %s: give each capture "
                          "its own name",
                          member.name, member.name.empty() ? "(empty)" : "twice"));
    }
    if (member.timeout < milliseconds(1) || member.timeout > milliseconds(60'000)) {
      return OutOfRange("members['" + member.name + "'].timeout", member.timeout, 1);
    }
  }
  if (hedge < milliseconds(0) || hedge > milliseconds(60'000)) {
    return OutOfRange("hedge", hedge, 0);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<SipCapture>> MakeCaptureChain(CaptureChainOptions options) {
  ABSL_RETURN_IF_ERROR(options.Validate());
  return std::make_shared<CaptureChain>(std::move(options));
}

}  // namespace sipheal::inline v0_1
