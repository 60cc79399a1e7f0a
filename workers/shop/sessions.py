"""A shopper's visits: what they search, open, put into the cart and buy, and the hints that they see."""

import math

from workers.shop.behaviour import Behaviour
from workers.shop.click_model import ClickModel
from workers.shop.event_log import EventLog
from workers.shop.items import Item
from workers.shop.logging_policy import Policy
from workers.shop.needs import NeedModel
from workers.shop.queries import NONE, Level, Query
from workers.shop.shopper import Need, Shopper

_NEW_QUERY_TRIES = 4
_LOOKED_AT = 4
"""Listings that a shopper compares before opening one."""
_BRAND_ASKED = 3.0
_BRAND_WANTED = 1.0
_VALUE_WANTED = 1.0
_SEEN = 2.5
_HINT_READ_S = 4.0
_CHECKOUT_S = 120.0
_PAUSE_S = 25.0
_AFTER_CART_S = 4.0


class Visits:
    """Plays sessions. `policy` None shows no hints."""

    def __init__(self, needs: NeedModel, clicks: ClickModel, rates: Behaviour, policy: Policy | None) -> None:
        self.needs, self.clicks, self.rates, self.policy = needs, clicks, rates, policy
        self._book = needs.book

    def play(self, shopper: Shopper, ts: float, log: EventLog) -> float:
        """Log one session that begins at `ts` (epoch seconds); return when it ended."""
        draws, rates = shopper.draws, self.rates
        shopper.sessions += 1
        log.begin(shopper.user_id, shopper.sessions)
        self._wake(shopper, ts)
        need = None
        if draws.chance(rates.home_share):
            ts, need = self._home(shopper, ts, log)
        while True:
            ts = self._task(shopper, need, ts, log)
            if not draws.chance(rates.next_task_share):
                return ts
            need = None
            ts += draws.exponential(_PAUSE_S)
            if draws.chance(rates.home_again_share):
                ts, need = self._home(shopper, ts, log)

    def play_cold(self, shopper: Shopper, ts: float, log: EventLog) -> None:
        """Log the one short visit of a shopper who leaves at most two behaviour events."""
        draws, rates = shopper.draws, self.rates
        shopper.sessions += 1
        log.begin(shopper.user_id, shopper.sessions)
        self._wake(shopper, ts)
        if draws.chance(rates.home_share):
            ts, need = self._home(shopper, ts, log)
            if need is not None:
                if draws.chance(0.5):
                    item = self.choose_item(shopper, need, None)
                    self._open(shopper, need, item, ts + draws.exponential(rates.dwell_result_s), log)
                return
        if draws.chance(0.6):
            need = self.needs.choose(shopper, ts)
            query = self._ask(shopper, need, ts, log, again=False)
            if draws.chance(0.5):
                item = self.choose_item(shopper, need, query)
                self._open(shopper, need, item, ts + draws.exponential(rates.dwell_result_s), log)

    def _wake(self, shopper: Shopper, ts: float) -> None:
        """Make sure that there is something on the shopper's mind before hints are judged."""
        need = self.needs.choose(shopper, ts)
        need.strength = max(need.strength, 0.8)

    def _home(self, shopper: Shopper, ts: float, log: EventLog) -> tuple[float, Need | None]:
        """Show hints; return the time and the need that a clicked one spoke to."""
        if self.policy is None:
            return ts, None
        served = self.policy.serve(shopper.profile, shopper.trail, shopper.searched, ts, shopper.draws)
        if served is None:
            return ts, None
        shopper.requests += 1
        request_id = f"{shopper.user_id}-r{shopper.requests}"
        hints = [(text, self._book.by_text[text]) for text in served.queries]
        slots = self.clicks.slots(shopper, hints, ts)
        log.exposure(ts, request_id, served, slots)
        mark, chosen = shopper.draws.uniform(), NONE
        for position, slot in enumerate(slots):
            if chosen == NONE and mark < slot.click:
                chosen = position
            mark -= slot.click
        for position, (text, _) in enumerate(hints):
            if position != chosen:
                shopper.shown[text] = shopper.shown.get(text, 0) + 1
        ts += shopper.draws.exponential(_HINT_READ_S) + 1.0
        if chosen == NONE:
            return ts, None
        text, query = hints[chosen]
        log.hint_click(ts, request_id, chosen, text)
        shopper.searched[text] = ts
        shopper.did(text)
        need = self.needs.from_query(shopper, query, ts)
        need.last = (query, text)
        return ts, need

    def _task(self, shopper: Shopper, hinted: Need | None, ts: float, log: EventLog) -> float:
        """Pursue one need for a while: searches (or the hint that was clicked), listings, perhaps a purchase."""
        draws, rates = shopper.draws, self.rates
        if hinted is None and draws.chance(rates.noise_share):
            return self._noise(shopper, ts, log)
        need = hinted if hinted is not None else self.needs.choose(shopper, ts)
        query: Query | None = need.last[0] if hinted is not None and need.last is not None else None
        first = True
        need.opened.clear()
        if hinted is None and need.carted is not None and draws.chance(0.4):
            return self._buy(shopper, need, need.carted, ts + draws.exponential(_CHECKOUT_S), log)
        browsed = hinted is None and draws.chance(rates.browse_share)
        while True:
            if not (first and (browsed or hinted is not None)):
                query = self._ask(shopper, need, ts, log, again=first)
            first = False
            ts += draws.exponential(rates.dwell_result_s) + 2.0
            ts, bought = self._results(shopper, need, query, ts, log)
            if bought:
                return ts
            if draws.chance(0.75):
                need.step += 1
            if not draws.chance(rates.more_searches):
                break
            ts += 3.0
        need.strength *= 0.88
        if draws.chance(rates.need_drop) and need in shopper.needs:
            shopper.needs.remove(need)
        return ts

    def _noise(self, shopper: Shopper, ts: float, log: EventLog) -> float:
        """Search something out of nowhere, once."""
        market = self.needs.shop.markets[shopper.profile.locale]
        category = market[shopper.draws.below(len(market))]
        query = self._book.product(category, shopper.draws.below(len(category.kinds)))
        text = self._book.form(query, shopper.habit, shopper.draws)
        log.search(ts, text)
        shopper.searched[text] = ts
        shopper.did(text)
        return ts + shopper.draws.exponential(self.rates.dwell_result_s)

    def _ask(self, shopper: Shopper, need: Need, ts: float, log: EventLog, *, again: bool) -> Query:
        """Search; `again` allows the need's last query word for word, as one who comes back does."""
        need.touched = ts
        if again and need.last is not None and shopper.draws.chance(self.rates.refind_share):
            query, text = need.last
        else:
            query = self.needs.query(shopper, need)
            for _ in range(_NEW_QUERY_TRIES):
                if need.last is None or query is not need.last[0]:
                    break
                need.step += 1
                query = self.needs.query(shopper, need)
            text = self._book.form(query, shopper.habit, shopper.draws)
            need.last = (query, text)
        taste = shopper.tastes.get(need.category.index)
        if taste is not None:
            taste.last = need.last
        text = self._book.slip(text, shopper.draws)
        log.search(ts, text)
        shopper.searched[text] = ts
        shopper.shown.pop(text, None)
        shopper.did(text)
        return query

    def _results(
        self, shopper: Shopper, need: Need, query: Query | None, ts: float, log: EventLog
    ) -> tuple[float, bool]:
        """Open listings; return the time and whether one was bought."""
        draws, rates = shopper.draws, self.rates
        if draws.chance(rates.no_click):
            return ts, False
        cart = rates.consumable_cart if need.category.repurchase_days else rates.cart_per_click
        while True:
            item = self.choose_item(shopper, need, query)
            if item in need.opened:
                # Seen already in this visit: nothing new on the page.
                return ts, False
            self._open(shopper, need, item, ts, log)
            ts += draws.exponential(rates.dwell_item_s) + 3.0
            # Who only looks around does not buy yet.
            if draws.chance(cart * min(0.4 + 0.4 * need.step, 1.2)):
                log.item(ts, "cart", item.id, item.price, 1)
                ts += _AFTER_CART_S
                need.carted = item
                if draws.chance(rates.buy_per_cart):
                    return self._buy(shopper, need, item, ts + draws.exponential(_CHECKOUT_S) + 10.0, log), True
            if not draws.chance(rates.more_clicks):
                return ts, False

    def _open(self, shopper: Shopper, need: Need, item: Item, ts: float, log: EventLog) -> None:
        log.item(ts, "click", item.id, item.price)
        shopper.did((item.category.index, item.kind))
        need.touched, need.seen = ts, item
        need.opened.append(item)
        if shopper.draws.chance(self.rates.impressed_share):
            need.brand = item.brand

    def _buy(self, shopper: Shopper, need: Need, item: Item, ts: float, log: EventLog) -> float:
        shopper.orders += 1
        quantity = 1 + (shopper.draws.below(3) if need.category.repurchase_days else 0)
        log.item(ts, "purchase", item.id, item.price, quantity, f"{shopper.user_id}-o{shopper.orders}")
        self.needs.met(shopper, need, item, ts)
        return ts

    def choose_item(self, shopper: Shopper, need: Need, query: Query | None) -> Item:
        """Return the listing that suits best of a few that the result page shows high."""
        draws, category = shopper.draws, need.category
        kind = need.kind
        if query is not None and query.level is Level.PRODUCT and draws.chance(0.3):
            kind = draws.pick(category.kind_sums)
        shelf, sums = category.by_kind[kind], category.item_sums[kind]
        best, most = shelf[0], -math.inf
        for _ in range(_LOOKED_AT):
            item = shelf[draws.pick(sums)]
            score = draws.uniform() - _SEEN * (item in need.opened)
            for axis in need.axes:
                score += _VALUE_WANTED * (item.values[axis] == need.values[axis])
            if item.brand == need.brand:
                score += _BRAND_ASKED if query is not None and query.brand == need.brand else _BRAND_WANTED
            if score > most:
                best, most = item, score
        return best
