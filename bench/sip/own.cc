// SPDX-License-Identifier: Apache-2.0
#include "bench/sip/own.h"

#include <cstdio>
#include <cstdlib>
#include <memory>

#include "sip/kernel/kernel.h"
#include "sipheal/sip/dialog_codec.h"
#include "sipheal/sip/dialog_folder.h"
#include "sipheal/sip/message_fields.h"
#include "sipheal/sip/message_view.h"
#include "sipheal/sip/next_request.h"
#include "sipheal/sip/reinvite.h"
#include "sipheal/sip/verdict.h"

namespace sipheal::bench {
namespace {

UriFields Split(const sip::UriView& uri) { return {uri.user, uri.host, uri.port}; }

// What the peers are asked for, from what sipheal read.
Fields ToFields(const sip::MessageView& view, const sip::MessageFields& read) {
  Fields fields;
  fields.from = Split(read.from.uri);
  fields.to = Split(read.to.uri);
  fields.from_tag = read.from_tag;
  fields.to_tag = read.to_tag;
  fields.call_id = view.call_id();
  fields.cseq = view.cseq();
  fields.cseq_method = view.method_text();
  fields.contact = Split(read.contact.uri);
  for (const sip::UriView& uri : read.record_route.uris()) {
    if (fields.record_route_count == Fields::kMaxRoutes) break;
    fields.record_routes[fields.record_route_count++] = Split(uri);
  }
  fields.via_host = read.top_via.host;
  fields.via_port = read.top_via.port;
  fields.via_branch = read.top_via.branch;
  fields.session_expires = read.session_expires;
  if (read.refresher != sip::Refresher::kNone) {
    fields.refresher = read.refresher == sip::Refresher::kUac ? "uac" : "uas";
  }
  return fields;
}

[[noreturn]] void Fail(const char* what) {
  std::fprintf(stderr, "bench: sipheal could not %s: the table would be wrong\n", what);
  std::exit(1);
}

// The work of each dialog in turn, with everything that can be kept between dialogs kept.
class Work {
 public:
  explicit Work(const Corpus& corpus)
      : corpus_(corpus),
        folder_(CorpusServer()),
        writer_(*sip::ReinviteWriter::Create(
            {.contact = "sip:recovered@192.0.2.11:5060", .via_sent_by = "192.0.2.11:5060"})) {
    for (std::size_t dialog = 0; dialog < corpus.dialogs; ++dialog) {
      const std::vector<sip::DialogState>& found = Rebuild(dialog);
      if (found.size() != 1) Fail("rebuild a dialog of the corpus");
      sip::VerdictOptions policy;
      policy.targets.only_seen_hosts = false;
      if (!Judge(found.front(), policy).recoverable()) Fail("recover a dialog of the corpus");
      dialogs_.push_back(found.front());
    }
  }

  void ParseAll() {
    for (const sip::CapturedMessageView& message : corpus_.messages) {
      Keep(view_.Parse(message.bytes).ok());
    }
  }
  void ReadAll() { ReadAllBy(sip::kernel::BestKernel()); }
  // By one instruction set; the scans are there with and without AVX2, too.
  void ReadAllBy(const sip::kernel::Kernel& kernel) {
    for (const sip::CapturedMessageView& message : corpus_.messages) {
      if (!kernel.ParseInto(message.bytes, &view_).ok() ||
          !kernel.read_fields(view_, &fields_).ok()) {
        Fail("read a message of the corpus");
      }
      Keep(fields_);
    }
  }
  void RebuildAll() {
    for (std::size_t dialog = 0; dialog < corpus_.dialogs; ++dialog) Keep(Rebuild(dialog).size());
  }
  void InviteAll() {
    for (const sip::DialogState& dialog : dialogs_) Keep(Write(dialog).ok());
  }
  void VariablesAll() {
    for (const sip::DialogState& dialog : dialogs_) Keep(variables_.Write(dialog).ok());
  }
  void EncodeAll() {
    for (const sip::DialogState& dialog : dialogs_) {
      sip::EncodeDialog(dialog, &text_);
      Keep(text_.size());
    }
  }
  void TogetherAll() {
    for (std::size_t dialog = 0; dialog < corpus_.dialogs; ++dialog) {
      for (const sip::DialogState& state : Rebuild(dialog)) {
        Keep(Write(state).ok());
      }
    }
  }

 private:
  const std::vector<sip::DialogState>& Rebuild(std::size_t dialog) {
    const std::size_t begin = dialog * corpus_.per_dialog;
    std::string_view call_id;
    for (std::size_t i = begin; i < begin + corpus_.per_dialog; ++i) {
      call_id = folder_.Fold(corpus_.messages[i]).call_id;
    }
    folder_.Snapshot(call_id, &found_);
    folder_.Forget(call_id);
    return found_;
  }

  absl::StatusOr<std::string_view> Write(const sip::DialogState& dialog) {
    return writer_.Write(dialog, {.branch = "z9hG4bK-bench-1"});
  }

  const Corpus& corpus_;
  sip::DialogFolder folder_;
  sip::MessageView view_;
  sip::MessageFields fields_;
  sip::ReinviteWriter writer_;
  sip::RecoveryVariableWriter variables_;
  std::string text_;
  std::vector<sip::DialogState> found_;
  std::vector<sip::DialogState> dialogs_;
};

}  // namespace

bool ReadOwn(std::string_view bytes, Fields& fields) {
  sip::MessageView view;
  sip::MessageFields read;
  if (!view.Parse(bytes).ok() || !read.Read(view).ok()) return false;
  fields = ToFields(view, read);
  return true;
}

std::vector<Contender> OwnContenders(const Corpus& corpus) {
  const auto work = std::make_shared<Work>(corpus);
  const std::size_t all = corpus.messages.size();
  auto make = [&](std::string name, void (Work::*pass)(), std::size_t items) {
    Contender contender;
    contender.name = std::move(name);
    contender.pass = [work, pass] { (*work.*pass)(); };
    contender.messages = items;
    contender.dialogs = corpus.dialogs;
    contender.bytes = items == all ? corpus.bytes : 0;
    return contender;
  };
  std::vector<Contender> contenders = {
      make("sipheal: parse", &Work::ParseAll, all),
      make("sipheal: parse and fields", &Work::ReadAll, all),
      make("sipheal: rebuild (parse, fold, derive)", &Work::RebuildAll, all),
      make("sipheal: write the INVITE", &Work::InviteAll, corpus.dialogs),
      make("sipheal: channel variables", &Work::VariablesAll, corpus.dialogs),
      make("sipheal: encode for the store", &Work::EncodeAll, corpus.dialogs),
      make("sipheal: rebuild and write the INVITE", &Work::TogetherAll, all),
  };
  for (const sip::kernel::Kernel* kernel : sip::kernel::RunnableKernels()) {
    Contender contender = contenders[1];
    contender.name += std::string(" by ") + kernel->name;
    contender.pass = [work, kernel] { work->ReadAllBy(*kernel); };
    contenders.push_back(std::move(contender));
  }
  return contenders;
}

}  // namespace sipheal::bench
