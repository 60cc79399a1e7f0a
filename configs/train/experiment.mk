# `make experiment`: the ladder of docs/training.md, from a seed to a table. What is done is not done again: a run that
# was stopped goes on where it was. Settings: DATA (a dataset; default the sample shop), SEEDS, RECIPE, EXPERIMENT (where).
SEEDS ?= 7 8 9
RECIPE ?= mini
EXPERIMENT ?= var/experiment
DATA ?= $(EXPERIMENT)/shop
AIGQ := $(BIN)/aigq
REPORTS := $(SEEDS:%=$(EXPERIMENT)/seed-%/report/report.json)

# Rows of the ladder, and the switches of `aigq train grpo` that make them.
LADDER := grpo il_grpo one_clip no_entropy no_ctr no_sequence
grpo := --list-advantage
il_grpo :=
one_clip := --no-adaptive-clip
no_entropy := --no-dynamic-entropy
no_ctr := --no-ctr-reward
no_sequence := --no-sequence-reward

# What is compared, case by case: each rung with the one below, and the whole with each switch left out.
RUNGS := il_sft:sft grpo:il_sft il_grpo:grpo il_grpo:il_sft $(patsubst %,il_grpo:%,$(filter-out grpo il_grpo,$(LADDER)))
# What Think adds for who has no list yet, by lessons of the rule.
RUNGS += no_list:no_list_without_think
LESSONS := $(EXPERIMENT)/lessons.parquet
THINK_REPORTS := $(SEEDS:%=$(EXPERIMENT)/seed-%/report-think/report.json)

.PHONY: experiment experiment-think
experiment: $(REPORTS)  ## Train and evaluate every row of the ladder, three seeds (hours): SEEDS, RECIPE, DATA
	$(AIGQ) seeds $(REPORTS) $(RUNGS:%=--pairs %) --json > $(EXPERIMENT)/seeds.json

experiment-think: $(THINK_REPORTS)  ## The same of a model that writes lists of triggers with reasons
	$(AIGQ) seeds $(THINK_REPORTS) --pairs no_list:no_list_without_think --json > $(EXPERIMENT)/seeds-think.json

$(EXPERIMENT)/shop: | setup
	$(AIGQ) shop generate --shoppers 20000 --days 30 --seed 7 --out $@

$(EXPERIMENT)/seed-%/il_sft: $(DATA)
	$(AIGQ) train all --data $(DATA) --recipe $(RECIPE) --seed $* --out $@

$(EXPERIMENT)/seed-%/sft: $(EXPERIMENT)/seed-%/il_sft
	$(AIGQ) train sft --next-query --data $(DATA) --recipe $(RECIPE) --seed $* --start $<.lm --out $@

$(LESSONS): $(DATA)
	$(AIGQ) think distil --data $(DATA) --out $@

$(EXPERIMENT)/seed-%/think-sft: $(EXPERIMENT)/seed-%/il_sft $(LESSONS)
	$(AIGQ) train sft --data $(DATA) --recipe mini-think --seed $* --start $< --reasons $(LESSONS) --out $@

$(EXPERIMENT)/seed-%/think: $(EXPERIMENT)/seed-%/think-sft
	$(AIGQ) train grpo --data $(DATA) --recipe mini-think --seed $* --start $< --reasons $(LESSONS) \
	  --ctr $(@D)/il_sft-ctr --out $@

define rung
$(EXPERIMENT)/seed-%/$(1): $(EXPERIMENT)/seed-%/il_sft
	$(AIGQ) train grpo --data $(DATA) --recipe $(RECIPE) --seed $$* --start $$< --ctr $$<-ctr $($(1)) --out $$@
endef
$(foreach row,$(LADDER),$(eval $(call rung,$(row))))

.SECONDEXPANSION:
$(EXPERIMENT)/seed-%/report/report.json: $$(addprefix $(EXPERIMENT)/seed-$$*/,il_sft sft $(LADDER)) $(LESSONS)
	$(AIGQ) evaluate --data $(DATA) --model il_sft=$(@D:%/report=%)/il_sft --ranker $(@D:%/report=%)/il_sft-ranker \
	  --judge $(@D:%/report=%)/il_sft-judge --next-query sft=$(@D:%/report=%)/sft \
	  $(foreach row,$(LADDER),--compare $(row)=$(@D:%/report=%)/$(row)) --lessons $(LESSONS) --out $(@D)

$(EXPERIMENT)/seed-%/report-think/report.json: $(EXPERIMENT)/seed-%/il_sft $(EXPERIMENT)/seed-%/think
	AIGQ_THINK_REASONING=true $(AIGQ) evaluate --data $(DATA) --model il_sft=$< --think $(<D)/think \
	  --judge $<-judge --out $(@D)
.SECONDARY:
