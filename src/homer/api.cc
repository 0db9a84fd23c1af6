// SPDX-License-Identifier: Apache-2.0
#include "homer/api.h"

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "homer/answer_reader.h"
#include "homer/row.h"

namespace sipheal::inline v0_1::internal::homer {
namespace {

using nlohmann::json;

constexpr char kV3Login[] = "/api/v3/auth";
constexpr char kV3Transaction[] = "/api/v3/call/transaction";
constexpr char kV3Search[] = "/api/v3/search/call/data";
constexpr char kV4Login[] = "/api/v4/auth/sessions";
constexpr char kV4Messages[] = "/api/v4/transactions/messages";

// HOMER 11 cuts a longer list without a word.
constexpr std::size_t kV4Batch = 50;
// Of the Call-IDs of one request together.
constexpr std::size_t kBatchBytes = 256 * 1024;
// Of an answer that is not rows.
constexpr std::size_t kSmallBody = 256 * 1024;
constexpr std::size_t kBufferBytes = 256 * 1024;

std::int64_t Milliseconds(WallTime time) {
  return std::chrono::floor<std::chrono::milliseconds>(time.time_since_epoch()).count();
}

// Text of HOMER's for an error: one line that can be shown.
std::string Shown(const std::string& text) {
  std::string out = text.substr(0, 200);
  for (char& c : out) {
    if (c < ' ' || c > '~') c = ' ';
  }
  return out;
}

json Parse(const std::string& body) { return json::parse(body, nullptr, false); }

// json::value() throws when the type is another.
std::string TextOf(const json& object, const char* name) {
  if (!object.is_object()) return "";
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

json MemberOf(const json& object, const char* name) {
  if (!object.is_object()) return nullptr;
  const auto found = object.find(name);
  return found != object.end() ? *found : json(nullptr);
}

// What went wrong, in HOMER's words: {"message":"..."}, {"error":"..."},
// {"error":{"detail":"..."}}.
std::string WordsOf(const std::string& body) {
  const json answer = Parse(body);
  const json error = MemberOf(answer, "error");
  for (const std::string& text : {TextOf(answer, "message"), TextOf(answer, "error"),
                                  TextOf(error, "detail"), TextOf(error, "title")}) {
    if (!text.empty()) return Shown(text);
  }
  return "";
}

bool IsHomer11(const std::string& body) {
  const json answer = Parse(body);
  return answer.is_object() && answer.contains("success");
}

json V3Request(const Window& window, const std::string& profile, json search) {
  return {{"timestamp", {{"from", Milliseconds(window.from)}, {"to", Milliseconds(window.to)}}},
          {"param",
           {{"search", {{profile, std::move(search)}}},
            {"transaction", json::object()},
            {"limit", 200},
            {"orlogic", false},
            {"location", {{"node", json::array()}}},
            {"whitelist", json::array()},
            {"timezone", {{"value", 0}, {"name", "UTC"}}}}}};
}

std::string Dump(const json& value) {
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

// "1_call" is "call" to HOMER 11.
std::string EventType(const std::string& profile) { return profile.substr(profile.find('_') + 1); }

std::vector<std::vector<std::string>> Batches(const std::vector<std::string>& call_ids,
                                              std::size_t most) {
  std::vector<std::vector<std::string>> batches;
  std::size_t bytes = 0;
  for (const std::string& call_id : call_ids) {
    bytes += call_id.size();
    if (batches.empty() || batches.back().size() == most || bytes > kBatchBytes) {
      batches.emplace_back();
      bytes = call_id.size();
    }
    batches.back().push_back(call_id);
  }
  return batches;
}

std::string WithoutSlash(std::string url) {
  while (url.ends_with('/')) url.pop_back();
  return url;
}

HttpOptions ToHttpOptions(const HomerOptions& options) {
  HttpOptions http;
  http.connect_timeout = options.connect_timeout;
  http.max_body = kSmallBody;
  http.ca_file = options.ca_file;
  http.verify_peer = options.verify_tls;
  http.buffer_bytes = kBufferBytes;
  return http;
}

}  // namespace

struct HomerApi::Question {
  Question(std::size_t max_row_bytes, Gatherer* the_gatherer)
      : gatherer(the_gatherer),
        reader(max_row_bytes, [this](std::string_view text) { return OnRow(text); }) {}

  bool OnBody(int code, std::string_view piece) {
    if (gatherer == nullptr || code / 100 != 2) {
      small.append(piece.substr(0, kSmallBody - std::min(kSmallBody, small.size())));
      return true;
    }
    reading = gatherer->CountBytes(piece.size());
    if (reading.ok()) reading = reader.Append(piece);
    return reading.ok();
  }

  absl::Status OnRow(std::string_view text) {
    Row row;
    ABSL_RETURN_IF_ERROR(rows.Read(text, form, row));
    if (some_sid.empty()) some_sid = row.sid;
    if (!canary.empty() && row.sid == canary) canary_seen = true;
    return gatherer->Add(row);
  }

  std::string path;
  std::string body;
  RowForm form = RowForm::kV3;
  std::vector<std::string> call_ids;
  bool first_profile = false;
  std::string canary;  // asked for beside call_ids; HOMER has rows of it

  Gatherer* const gatherer;  // null: the answer is small and kept as it is
  AnswerReader reader;
  RowReader rows;

  std::string small;     // an answer that is not rows
  absl::Status reading;  // of the rows
  absl::Status status;   // what the answer means
  int http_status = 0;
  bool homer11 = false;  // the answer is one of HOMER 11's
  std::string some_sid;  // what HOMER filed the first row under
  bool canary_seen = false;
};

HomerApi::HomerApi(HomerOptions options, Secrets secrets)
    : options_(std::move(options)),
      secrets_(std::move(secrets)),
      url_(WithoutSlash(options_.url)),
      clock_(options_.clock != nullptr ? *options_.clock : SystemClock()),
      api_(options_.api),
      client_(ToHttpOptions(options_), options_.connections) {}

std::string HomerApi::WhyNotBelieved() const {
  return absl::StrFormat(
      "HOMER at %s answers that it has no message at all, of any call: that is what homer-app says "
      "when it cannot read its database, too: see homer-app's log, and that its clock and the "
      "capture agents' are right",
      url_);
}

absl::Status HomerApi::StatusOfRefusal(int status, const std::string& body,
                                       const std::string& what) const {
  const std::string words = WordsOf(body);
  const std::string seen =
      absl::StrFormat("%s: %d%s%s", what, status, words.empty() ? "" : " ", words);
  switch (status) {
    case 401:
      if (!secrets_.token.empty()) {
        return absl::UnauthenticatedError(absl::StrFormat(
            "%s: HOMER refuses the token: compare it with Preferences, Auth token, and its expiry; "
            "homer-app reads the header %s only with api_settings.enable_token_access true",
            seen, options_.token_header));
      }
      return absl::UnauthenticatedError(absl::StrFormat(
          "%s: HOMER refuses user \"%s\": compare the password with HOMER's", seen, secrets_.user));
    case 403:
      return absl::PermissionDeniedError(
          absl::StrFormat("%s: HOMER does not let this user search: give it the right to", seen));
    case 400:
      return absl::UnavailableError(absl::StrFormat(
          "%s: HOMER does not take the request: compare `profiles` with HOMER's mappings", seen));
    case 404:
      return absl::UnavailableError(absl::StrFormat(
          "%s: this is no HOMER: check `url`, and homer-app's http_settings.api_prefix", seen));
    default:
      return absl::UnavailableError(
          absl::StrFormat("%s: HOMER failed: see its log, and try again", seen));
  }
}

void HomerApi::Interpret(Question& question, absl::StatusOr<HttpResponse> response) const {
  const std::string what = "POST " + url_ + question.path;
  if (!question.reading.ok()) {
    question.status = absl::IsInvalidArgument(question.reading)
                          ? absl::UnavailableError(absl::StrFormat(
                                "%s: HOMER's answer cannot be read: %s: see the log of homer-app, "
                                "and of a proxy between",
                                what, std::string(question.reading.message())))
                          : question.reading;
    return;
  }
  if (!response.ok()) {
    question.status = response.status();
    if (!absl::IsUnavailable(question.status)) return;
    question.status = absl::UnavailableError(absl::StrFormat(
        "%s: %s", std::string(response.status().message()),
        WasRefused(response.status())
            ? "is homer-app running, and is `url` its address?"
            : "homer-app's log tells more: it closes connections without a word when it fails"));
    return;
  }
  question.http_status = response->status;
  if (response->status / 100 != 2) {
    question.homer11 = response->status == 400 && IsHomer11(question.small);
    question.status = StatusOfRefusal(response->status, question.small, what);
    return;
  }
  if (question.gatherer == nullptr) return;
  question.homer11 = question.form == RowForm::kV3 && question.reader.is_homer11();
  if (const absl::Status whole = question.reader.Finish(); !whole.ok()) {
    question.status = absl::UnavailableError(absl::StrFormat(
        "%s: HOMER's answer cannot be read: %s: see its log", what, std::string(whole.message())));
  } else if (!question.reader.has_rows()) {
    question.status = absl::UnavailableError(
        absl::StrFormat("%s: the answer has no messages in it: is this a HOMER?", what));
  }
}

absl::Status HomerApi::Send(const CallContext& ctx,
                            std::vector<std::unique_ptr<Question>>& questions) {
  std::vector<Question*> open;
  for (const auto& question : questions) open.push_back(question.get());
  std::uint64_t refused = 0;
  for (int tries = 0; !open.empty() && tries < 2; ++tries) {
    ABSL_ASSIGN_OR_RETURN(const Credentials credentials, LogIn(ctx, refused));
    std::vector<HttpRequest> requests;
    for (Question* const question : open) {
      question->small.clear();
      question->status = absl::OkStatus();
      HttpRequest& request = requests.emplace_back();
      request.method = "POST";
      request.url = Url(question->path.c_str());
      request.body = question->body;
      request.headers = {credentials.header};
      request.on_body = [question](int status, std::string_view piece) {
        return question->OnBody(status, piece);
      };
    }
    auto responses = client_.SendAll(ctx, requests);
    std::vector<Question*> again;
    for (std::size_t i = 0; i < open.size(); ++i) {
      Interpret(*open[i], std::move(responses[i]));
      if (open[i]->http_status == 401) again.push_back(open[i]);
    }
    // A token that was made stays what it is.
    if (credentials.generation == 0) break;
    refused = credentials.generation;
    open = std::move(again);
    for (Question* const question : open) {
      if (tries == 0) question->http_status = 0;
    }
  }
  for (const auto& question : questions) {
    if (!question->status.ok()) return question->status;
  }
  return absl::OkStatus();
}

absl::StatusOr<HomerApi::Credentials> HomerApi::LogIn(const CallContext& ctx,
                                                      std::uint64_t refused) {
  if (!secrets_.token.empty()) {
    return Credentials{options_.token_header + ": " + secrets_.token, 0};
  }
  const auto known = [&]() -> Credentials {
    const MutexLock lock(mutex_);
    if (jwt_.empty() || generation_ == refused) return {};
    return {"Authorization: Bearer " + jwt_, generation_};
  };
  if (const Credentials credentials = known(); credentials.generation != 0) return credentials;
  ABSL_ASSIGN_OR_RETURN(const auto pass,
                        login_.Enter(ctx, clock_, Turnstile::Urgency::kNormal, "HOMER: log in"));
  // Somebody else's login while this one waited is as good.
  if (const Credentials credentials = known(); credentials.generation != 0) return credentials;
  ABSL_ASSIGN_OR_RETURN(const std::string jwt, AskForToken(ctx));
  const MutexLock lock(mutex_);
  jwt_ = jwt;
  ++generation_;
  return Credentials{"Authorization: Bearer " + jwt_, generation_};
}

absl::StatusOr<std::string> HomerApi::AskForToken(const CallContext& ctx) {
  const json request = {{"username", secrets_.user}, {"password", secrets_.password}};
  absl::Status failed;
  for (const Api api : {Api::kV3, Api::kV4}) {
    if (api_ != Api::kFind && api_ != api) continue;
    const char* const path = api == Api::kV3 ? kV3Login : kV4Login;
    const std::string what = "POST " + url_ + path;
    HttpRequest login;
    login.method = "POST";
    login.url = Url(path);
    login.body = Dump(request);
    absl::StatusOr<HttpResponse> response = client_.SendAll(ctx, {login})[0];
    if (!response.ok()) {
      Question question(options_.max_row_bytes, nullptr);
      question.path = path;
      Interpret(question, std::move(response));
      return question.status;
    }
    if (response->status / 100 == 2) {
      const json answer = Parse(response->body);
      std::string token = TextOf(answer, "token");
      if (token.empty()) token = TextOf(MemberOf(answer, "data"), "token");
      const bool usable = !token.empty() && std::all_of(token.begin(), token.end(),
                                                        [](char c) { return c > ' ' && c <= '~'; });
      if (usable) return token;
      failed = absl::UnavailableError(
          absl::StrFormat("%s: the answer has no token in it: is this a HOMER?", what));
      continue;
    }
    failed = StatusOfRefusal(response->status, response->body, what);
    // HOMER 11 may not have the old path, or want another body there.
    if (response->status != 400 && response->status != 404 && response->status != 405) break;
  }
  return failed;
}

std::unique_ptr<HomerApi::Question> HomerApi::MakeQuestion(Api api, const std::string& profile,
                                                           std::vector<std::string> call_ids,
                                                           const Window& window,
                                                           Gatherer& gatherer) const {
  auto question = std::make_unique<Question>(options_.max_row_bytes, &gatherer);
  if (api == Api::kV4) {
    question->path = kV4Messages;
    question->form = RowForm::kV4;
    question->body = Dump(
        {{"session_ids", call_ids},
         {"proto_type", 1},
         {"event_type", EventType(profile)},
         {"timestamp", {{"from", Milliseconds(window.from)}, {"to", Milliseconds(window.to)}}}});
  } else {
    question->path = kV3Transaction;
    question->body = Dump(V3Request(window, profile, {{"callid", call_ids}}));
  }
  question->first_profile = profile == options_.profiles.front();
  question->call_ids = std::move(call_ids);
  return question;
}

absl::StatusOr<std::unordered_set<std::string>> HomerApi::Ask(
    const CallContext& ctx, const std::vector<std::string>& call_ids, const Window& window,
    Gatherer& gatherer) {
  if (api_ != Api::kV4) {
    auto believed = AskV3(ctx, call_ids, window, gatherer);
    if (api_ != Api::kV4) return believed;
    if (options_.log != nullptr) {
      options_.log->Write({LogLevel::kInfo,
                           "homer_11_found",
                           "HOMER answers as HOMER 11 does; it is asked over its /api/v4",
                           {{"url", url_}}});
    }
  }
  return AskV4(ctx, call_ids, window, gatherer);
}

absl::StatusOr<std::unordered_set<std::string>> HomerApi::AskV3(
    const CallContext& ctx, const std::vector<std::string>& call_ids, const Window& window,
    Gatherer& gatherer) {
  // One profile in each request: of several, homer-app reads the table of any one.
  std::vector<std::unique_ptr<Question>> questions;
  for (const std::string& profile : options_.profiles) {
    for (const auto& batch : Batches(call_ids, options_.batch)) {
      questions.push_back(MakeQuestion(Api::kV3, profile, batch, window, gatherer));
    }
  }
  const absl::Status sent = Send(ctx, questions);
  if (api_ == Api::kFind) {
    for (const auto& question : questions) {
      if (question->homer11) api_ = Api::kV4;
    }
  }
  ABSL_RETURN_IF_ERROR(sent);

  // An answer with rows was read from the database, so what is not in it is not there.
  std::unordered_set<std::string> believed;
  std::vector<std::vector<std::string>> doubtful;
  std::string canary;
  for (const auto& question : questions) {
    if (!question->first_profile) continue;
    if (question->reader.rows() == 0) {
      doubtful.push_back(question->call_ids);
      continue;
    }
    canary = question->some_sid;
    believed.insert(question->call_ids.begin(), question->call_ids.end());
  }
  if (doubtful.empty()) return believed;
  if (canary.empty()) {
    ABSL_ASSIGN_OR_RETURN(canary, FindAny(ctx, window));
    if (canary.empty()) return believed;
  }
  questions.clear();
  for (std::vector<std::string>& batch : doubtful) {
    std::vector<std::string> beside = batch;
    beside.push_back(canary);
    questions.push_back(
        MakeQuestion(Api::kV3, options_.profiles.front(), std::move(beside), window, gatherer));
    questions.back()->call_ids = std::move(batch);
    questions.back()->canary = canary;
  }
  ABSL_RETURN_IF_ERROR(Send(ctx, questions));
  for (const auto& question : questions) {
    if (!question->canary_seen) continue;
    believed.insert(question->call_ids.begin(), question->call_ids.end());
  }
  return believed;
}

absl::StatusOr<std::unordered_set<std::string>> HomerApi::AskV4(
    const CallContext& ctx, const std::vector<std::string>& call_ids, const Window& window,
    Gatherer& gatherer) {
  std::vector<std::unique_ptr<Question>> questions;
  for (const std::string& profile : options_.profiles) {
    for (const auto& batch : Batches(call_ids, std::min(kV4Batch, options_.batch))) {
      questions.push_back(MakeQuestion(Api::kV4, profile, batch, window, gatherer));
    }
  }
  ABSL_RETURN_IF_ERROR(Send(ctx, questions));
  // HOMER 11 says when it failed.
  return std::unordered_set<std::string>(call_ids.begin(), call_ids.end());
}

absl::StatusOr<std::string> HomerApi::FindAny(const CallContext& ctx, const Window& window) {
  std::vector<std::unique_ptr<Question>> questions;
  questions.push_back(std::make_unique<Question>(options_.max_row_bytes, nullptr));
  Question& question = *questions.back();
  question.path = kV3Search;
  question.body = Dump(V3Request(
      window, options_.profiles.front(),
      json::array({{{"name", "limit"}, {"value", "1"}, {"type", "string"}, {"hepid", 1}}})));
  ABSL_RETURN_IF_ERROR(Send(ctx, questions));
  const json rows = MemberOf(Parse(question.small), "data");
  return rows.is_array() && !rows.empty() ? TextOf(rows.front(), "sid") : "";
}

absl::Status HomerApi::Check(const CallContext& ctx) {
  const WallTime now = clock_.Now();
  const Window window{now - options_.read.lookback, now + std::chrono::minutes(10)};
  Gatherer gatherer({}, options_.read.max_rows, options_.read.max_bytes);
  ABSL_ASSIGN_OR_RETURN(const auto believed, Ask(ctx, {"sipheal-check"}, window, gatherer));
  return believed.empty() ? absl::UnavailableError(WhyNotBelieved()) : absl::OkStatus();
}

}  // namespace sipheal::inline v0_1::internal::homer
