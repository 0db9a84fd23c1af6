list(APPEND SIPHEAL_CORE_SOURCES
  sip/address.cc
  sip/dialog_state.cc
  sip/hep_packet.cc)
list(APPEND SIPHEAL_CORE_HEADERS
  sipheal/sip/address.h
  sipheal/sip/captured_message.h
  sipheal/sip/dialog_codec.h
  sipheal/sip/dialog_folder.h
  sipheal/sip/dialog_state.h
  sipheal/sip/explain.h
  sipheal/sip/header_id.h
  sipheal/sip/hep_packet.h
  sipheal/sip/message_view.h
  sipheal/sip/method.h
  sipheal/sip/next_request.h
  sipheal/sip/sdp.h
  sipheal/sip/server_identity.h
  sipheal/sip/stream_framer.h
  sipheal/sip/uri.h
  sipheal/sip/verdict.h)
