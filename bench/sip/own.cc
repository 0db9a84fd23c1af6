// SPDX-License-Identifier: Apache-2.0
#include "bench/sip/own.h"

#include <cstdio>
#include <cstdlib>
#include <memory>

#include "sipheal/sip/dialog_codec.h"
#include "sipheal/sip/dialog_folder.h"
#include "sipheal/sip/message_view.h"
#include "sipheal/sip/next_request.h"
#include "sipheal/sip/uri.h"
#include "sipheal/sip/verdict.h"

namespace sipheal::bench {
namespace {

bool Split(std::string_view text, UriFields& fields) {
  const std::optional<sip::UriView> uri = sip::UriView::Parse(text);
  if (!uri) return false;
  fields = {uri->user, uri->host, uri->port};
  return true;
}

bool ReadParty(std::string_view value, UriFields& uri, std::string_view& tag) {
  const std::optional<sip::NameAddrView> party = sip::NameAddrView::Parse(value);
  if (!party || !Split(party->uri, uri)) return false;
  tag = party->Param("tag").value_or(std::string_view());
  return true;
}

unsigned Number(std::string_view digits) {
  unsigned value = 0;
  for (char c : digits) {
    if (c < '0' || c > '9') break;
    value = value * 10 + static_cast<unsigned>(c - '0');
  }
  return value;
}

bool ReadFields(const sip::MessageView& view, Fields& fields) {
  fields = Fields();
  if (!ReadParty(view.Get(sip::HeaderId::kFrom), fields.from, fields.from_tag)) return false;
  if (!ReadParty(view.Get(sip::HeaderId::kTo), fields.to, fields.to_tag)) return false;
  fields.call_id = view.call_id();
  fields.cseq = view.cseq();
  fields.cseq_method = view.method_text();
  sip::NameAddrView entry;
  if (std::string_view contact = view.Get(sip::HeaderId::kContact); !contact.empty()) {
    if (NextNameAddr(&contact, &entry) != sip::ListStep::kValue) return false;
    if (!Split(entry.uri, fields.contact)) return false;
  }
  bool good = true;
  view.ForEach(sip::HeaderId::kRecordRoute, [&](std::string_view list) {
    while (good && NextNameAddr(&list, &entry) == sip::ListStep::kValue &&
           fields.record_route_count < Fields::kMaxRoutes) {
      good = Split(entry.uri, fields.record_routes[fields.record_route_count++]);
    }
  });
  std::string_view vias = view.Get(sip::HeaderId::kVia);
  sip::ViaView via;
  if (!good || NextVia(&vias, &via) != sip::ListStep::kValue) return false;
  fields.via_host = via.host;
  fields.via_port = via.port;
  fields.via_branch = via.branch;
  const std::string_view expires = view.Get(sip::HeaderId::kSessionExpires);
  fields.session_expires = Number(expires);
  if (const std::size_t semicolon = expires.find(';'); semicolon != expires.npos) {
    fields.refresher =
        sip::FindParam(expires.substr(semicolon), "refresher").value_or(std::string_view());
  }
  return true;
}

[[noreturn]] void Fail(const char* what) {
  std::fprintf(stderr, "bench: sipheal could not %s: the table would be wrong\n", what);
  std::exit(1);
}

// The work of each dialog in turn, with everything that can be kept between dialogs kept.
class Work {
 public:
  explicit Work(const Corpus& corpus) : corpus_(corpus), folder_(CorpusServer()) {
    options_.contact = "sip:recovered@192.0.2.11:5060";
    options_.via_sent_by = "192.0.2.11:5060";
    options_.branch = "z9hG4bK-bench-1";
    options_.transport = sip::Transport::kUdp;
    for (std::size_t dialog = 0; dialog < corpus.dialogs; ++dialog) {
      std::vector<sip::DialogState> found = Rebuild(dialog);
      if (found.size() != 1) Fail("rebuild a dialog of the corpus");
      sip::VerdictOptions policy;
      policy.targets.only_seen_hosts = false;
      if (!Judge(found.front(), policy).recoverable()) Fail("recover a dialog of the corpus");
      dialogs_.push_back(std::move(found.front()));
    }
  }

  void ParseAll() {
    for (const sip::CapturedMessageView& message : corpus_.messages) {
      Keep(view_.Parse(message.bytes).ok());
    }
  }
  void ReadAll() {
    Fields fields;
    for (const sip::CapturedMessageView& message : corpus_.messages) {
      Keep(view_.Parse(message.bytes).ok() && ReadFields(view_, fields));
      Keep(fields);
    }
  }
  void RebuildAll() {
    for (std::size_t dialog = 0; dialog < corpus_.dialogs; ++dialog) Keep(Rebuild(dialog).size());
  }
  void InviteAll() {
    for (const sip::DialogState& dialog : dialogs_) {
      Keep(WriteReinvite(dialog, options_, &text_).ok());
    }
  }
  void VariablesAll() {
    for (const sip::DialogState& dialog : dialogs_) Keep(sip::RecoveryVariables(dialog).ok());
  }
  void EncodeAll() {
    for (const sip::DialogState& dialog : dialogs_) Keep(sip::EncodeDialog(dialog).size());
  }
  void TogetherAll() {
    for (std::size_t dialog = 0; dialog < corpus_.dialogs; ++dialog) {
      for (const sip::DialogState& state : Rebuild(dialog)) {
        Keep(WriteReinvite(state, options_, &text_).ok());
      }
    }
  }

 private:
  std::vector<sip::DialogState> Rebuild(std::size_t dialog) {
    const std::size_t begin = dialog * corpus_.per_dialog;
    std::string_view call_id;
    for (std::size_t i = begin; i < begin + corpus_.per_dialog; ++i) {
      call_id = folder_.Fold(corpus_.messages[i]).call_id;
    }
    std::vector<sip::DialogState> found = folder_.Snapshot(call_id);
    folder_.Forget(call_id);
    return found;
  }

  const Corpus& corpus_;
  sip::DialogFolder folder_;
  sip::MessageView view_;
  sip::ReinviteOptions options_;
  std::string text_;
  std::vector<sip::DialogState> dialogs_;
};

}  // namespace

bool ReadOwn(std::string_view bytes, Fields& fields) {
  sip::MessageView view;
  return view.Parse(bytes).ok() && ReadFields(view, fields);
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
  return {
      make("sipheal: parse", &Work::ParseAll, all),
      make("sipheal: parse and fields", &Work::ReadAll, all),
      make("sipheal: rebuild (parse, fold, derive)", &Work::RebuildAll, all),
      make("sipheal: write the INVITE", &Work::InviteAll, corpus.dialogs),
      make("sipheal: channel variables", &Work::VariablesAll, corpus.dialogs),
      make("sipheal: encode for the store", &Work::EncodeAll, corpus.dialogs),
      make("sipheal: rebuild and write the INVITE", &Work::TogetherAll, all),
  };
}

}  // namespace sipheal::bench
