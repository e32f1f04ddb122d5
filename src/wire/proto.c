#include "wire/proto.h"

#include <stddef.h>

#include "base/common.h"

static const struct {
    int32_t op;
    const char *name, *code;
} ops[] = {
    {OP_CREATE, "create", "CREA"},
    {OP_DELETE, "delete", "DELE"},
    {OP_EXISTS, "exists", "EXIS"},
    {OP_GET_DATA, "getData", "GETD"},
    {OP_SET_DATA, "setData", "SETD"},
    {OP_GET_ACL, "getACL", "GETA"},
    {OP_SET_ACL, "setACL", "SETA"},
    {OP_GET_CHILDREN, "getChildren", "GETC"},
    {OP_SYNC, "sync", "SYNC"},
    {OP_PING, "ping", "PING"},
    {OP_GET_CHILDREN2, "getChildren2", "GETC"},
    {OP_CHECK, "check", "CHEC"},
    {OP_MULTI, "multi", "MULT"},
    {OP_CREATE2, "create2", "CREA"},
    {OP_RECONFIG, "reconfig", "RECO"},
    {OP_CHECK_WATCHES, "checkWatches", "CHKW"},
    {OP_REMOVE_WATCHES, "removeWatches", "REMW"},
    {OP_CREATE_CONTAINER, "createContainer", "CREA"},
    {OP_DELETE_CONTAINER, "deleteContainer", "DELE"},
    {OP_CREATE_TTL, "createTTL", "CREA"},
    {OP_MULTI_READ, "multiRead", "MLTR"},
    {OP_AUTH, "auth", "AUTH"},
    {OP_SET_WATCHES, "setWatches", "SETW"},
    {OP_SASL, "sasl", "SASL"},
    {OP_GET_EPHEMERALS, "getEphemerals", "GETE"},
    {OP_GET_ALL_CHILDREN_NUMBER, "getAllChildrenNumber", "GETACN"},
    {OP_SET_WATCHES2, "setWatches2", "STW2"},
    {OP_ADD_WATCH, "addWatch", "ADDW"},
    {OP_WHO_AM_I, "whoAmI", "HOMI"},
    {OP_CREATE_SESSION, "createSession", "SESS"},
    {OP_CLOSE_SESSION, "closeSession", "CLOS"},
    {OP_ERROR, "error", "ERRO"},
};

const char *proto_op_name(int32_t op) {
    for (size_t i = 0; i < ARRAY_LEN(ops); i++)
        if (ops[i].op == op)
            return ops[i].name;
    return "unknown";
}

const char *proto_op_code(int32_t op) {
    for (size_t i = 0; i < ARRAY_LEN(ops); i++)
        if (ops[i].op == op)
            return ops[i].code;
    return "NA";
}
