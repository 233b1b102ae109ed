/* A TFLite delegate that does what it is told, for tests: an accelerator with faults on demand.
 *
 * It claims the operations of models compiled for the Edge TPU. Byte i of the output is
 * input[0] + 7 * i (mod 256), so that a test can tell that an input arrived and its output came
 * back. What to do is read from the file that the option "control" names, again at each step:
 *
 *   WHEN ACTION [NUMBER]
 *
 * WHEN is "load" (the library creates the delegate), "prepare" (the runtime plans the model) or
 * "run" (one inference); ACTION is one of those in act(). NUMBER is how many runs go well first,
 * or for "slow" the milliseconds that every run takes.
 */
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* The part of TFLite's C interface that is needed, up to the last field of what is passed. */
typedef enum { kOk = 0, kError = 1 } Status;
typedef struct Context Context;
typedef struct Delegate Delegate;

typedef struct {
  int size;
  int data[];
} IntArray;

typedef struct {
  int type;
  union {
    uint8_t *bytes;
    void *any;
  } data;
  IntArray *dims;
  struct {
    float scale;
    int32_t zero_point;
  } params;
  int allocation_type;
  size_t size_bytes;
  const void *allocation;
  const char *name;
  Delegate *delegate;
  int buffer_handle;
  bool data_is_stale;
  bool is_variable;
  struct {
    int type;
    void *params;
  } quantization;
  void *sparsity;
  const IntArray *dims_signature;
} Tensor;

typedef struct {
  IntArray *inputs;
  IntArray *outputs;
  /* more that is not used */
} Node;

typedef struct {
  void *(*init)(Context *, const char *, size_t);
  void (*free)(Context *, void *);
  Status (*prepare)(Context *, Node *);
  Status (*invoke)(Context *, Node *);
  const char *(*profiling_string)(const Context *, const Node *);
  int32_t builtin_code;
  const char *custom_name;
  int version;
  void *registration_external;
  void *(*async_kernel)(Context *, Node *);
  uint64_t inplace_operator;
} Registration;

struct Context {
  size_t tensors_size;
  Status (*get_execution_plan)(Context *, IntArray **);
  Tensor *tensors;
  void *impl;
  Status (*resize_tensor)(Context *, Tensor *, IntArray *);
  void (*report_error)(Context *, const char *, ...);
  Status (*add_tensors)(Context *, int, int *);
  Status (*get_node_and_registration)(Context *, int, Node **, Registration **);
  Status (*replace_nodes)(Context *, Registration, const IntArray *, Delegate *);
  /* more that is not used */
};

struct Delegate {
  void *data;
  Status (*prepare)(Context *, Delegate *);
  void *copy_from_buffer_handle;
  void *copy_to_buffer_handle;
  void *free_buffer_handle;
  int64_t flags;
  void *opaque_builder;
};

static char control_path[4096];
static int runs;

static void sleep_ms(long ms) {
  struct timespec left = {ms / 1000, ms % 1000 * 1000000};
  while (nanosleep(&left, &left) != 0) {
  }
}

/* Does what the control file says for this step; kError if the step is to fail. */
static Status act(const char *step) {
  char when[16] = "", action[16] = "";
  int number = 0;
  FILE *control = fopen(control_path, "r");
  if (control != NULL) {
    if (fscanf(control, "%15s %15s %d", when, action, &number) < 2) when[0] = '\0';
    fclose(control);
  }
  if (strcmp(when, step) != 0) return kOk;
  if (strcmp(action, "slow") == 0) {
    sleep_ms(number);
    return kOk;
  }
  if (strcmp(step, "run") == 0 && runs <= number) return kOk;
  if (strcmp(action, "fail") == 0) return kError;
  if (strcmp(action, "abort") == 0) {
    fprintf(stderr, "F device.cc:857] transfer on tag 2 failed: lost in %s\n", step);
    abort();
  }
  if (strcmp(action, "segfault") == 0) raise(SIGSEGV);
  if (strcmp(action, "exit") == 0) {
    fprintf(stderr, "out of order"); /* and no end of the line */
    _exit(3);
  }
  if (strcmp(action, "hang") == 0) {
    for (;;) pause();
  }
  if (strcmp(action, "spin") == 0) {
    for (volatile int i = 0;; i++) {
    }
  }
  fprintf(stderr, "no such action: %s\n", action);
  _exit(99);
}

static Status invoke(Context *context, Node *node) {
  runs++;
  if (act("run") != kOk) {
    context->report_error(context, "the device refuses the inference\n");
    return kError;
  }
  const Tensor *input = &context->tensors[node->inputs->data[0]];
  Tensor *output = &context->tensors[node->outputs->data[0]];
  for (size_t i = 0; i < output->size_bytes; i++) {
    output->data.bytes[i] = (uint8_t)(input->data.bytes[0] + 7 * i);
  }
  return kOk;
}

static Status prepare(Context *context, Delegate *delegate) {
  if (act("prepare") != kOk) {
    context->report_error(context, "the device refuses the model\n");
    return kError;
  }
  IntArray *plan;
  if (context->get_execution_plan(context, &plan) != kOk) return kError;
  IntArray *mine = malloc(sizeof *mine + sizeof(int) * (size_t)plan->size);
  mine->size = 0;
  for (int i = 0; i < plan->size; i++) {
    Node *node;
    Registration *registration;
    if (context->get_node_and_registration(context, plan->data[i], &node, &registration) != kOk) {
      free(mine);
      return kError;
    }
    const char *name = registration->custom_name;
    if (name != NULL && strcmp(name, "edgetpu-custom-op") == 0) {
      mine->data[mine->size++] = plan->data[i];
    }
  }
  Registration kernel = {.invoke = invoke, .custom_name = "test-delegate", .version = 1};
  Status status = context->replace_nodes(context, kernel, mine, delegate);
  free(mine);
  return status;
}

Delegate *tflite_plugin_create_delegate(char **keys, char **values, size_t count,
                                        void (*report_error)(const char *)) {
  for (size_t i = 0; i < count; i++) {
    if (strcmp(keys[i], "control") == 0) {
      snprintf(control_path, sizeof control_path, "%s", values[i]);
    } else {
      report_error("no such option: ");
      report_error(keys[i]);
      return NULL;
    }
  }
  /* As the device of an Edge TPU that is not there: not a word. */
  if (act("load") != kOk) return NULL;
  Delegate *delegate = calloc(1, sizeof *delegate);
  delegate->prepare = prepare;
  /* "Allows dynamic tensors": otherwise the runtime prepares all operations itself at first, and
   * does not know those of the Edge TPU. */
  delegate->flags = 1;
  return delegate;
}

void tflite_plugin_destroy_delegate(Delegate *delegate) { free(delegate); }
